// The topics of the cluster as a coordinator of consumer groups needs them: immutable, one per revision of
// the metadata.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "protocol/uuid.h"

namespace millrace::coordinator {

class TopicDirectory {
 public:
  struct Topic {
    std::string_view name;
    Uuid id;
    int32_t partitions = 0;
  };

  virtual ~TopicDirectory() = default;

  // Nothing if there is no such topic. The name lives as long as the directory.
  virtual std::optional<Topic> find(std::string_view name) const = 0;
  virtual std::optional<Topic> find(const Uuid& id) const = 0;
  // Calls fn with every topic, in any order.
  virtual void for_each(const std::function<void(const Topic&)>& fn) const = 0;
  // Grows with every change.
  virtual int64_t version() const = 0;
};
using TopicDirectoryPtr = std::shared_ptr<const TopicDirectory>;

// Tells what belongs to a topic from what belonged to a former one of its name. Looks a topic up once as long
// as the same one is asked about.
class FormerTopics {
 public:
  // The directory outlives it.
  explicit FormerTopics(const TopicDirectory& topics) : topics_(topics) {}

  // Whether the id was that of a topic which isn't there any more. Zeros may be any topic's. The name is
  // remembered as it is: it lives until the next call.
  bool had(std::string_view topic, const Uuid& id) {
    if (id.is_zero()) return false;
    if (topic != name_) {
      name_ = topic;
      now_ = topics_.find(topic);
    }
    return !now_ || now_->id != id;
  }

 private:
  const TopicDirectory& topics_;
  std::string_view name_;  // empty at first: there is no topic of that name
  std::optional<TopicDirectory::Topic> now_;
};

}  // namespace millrace::coordinator
