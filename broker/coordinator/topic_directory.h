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

}  // namespace millrace::coordinator
