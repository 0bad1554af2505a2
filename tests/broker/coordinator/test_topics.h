// A cluster's topics for tests of the coordinator, as an immutable value.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "broker/coordinator/topic_directory.h"

namespace millrace::coordinator {

class TestTopics final : public TopicDirectory {
 public:
  struct Entry {
    Uuid id;
    int32_t partitions = 0;
  };
  using Entries = std::map<std::string, Entry, std::less<>>;

  TestTopics(Entries entries, int64_t version) : entries_(std::move(entries)), version_(version) {}

  std::optional<Topic> find(std::string_view name) const override {
    const auto found = entries_.find(name);
    if (found == entries_.end()) return std::nullopt;
    return Topic{found->first, found->second.id, found->second.partitions};
  }
  std::optional<Topic> find(const Uuid& id) const override {
    for (const auto& [name, entry] : entries_) {
      if (entry.id == id) return Topic{name, entry.id, entry.partitions};
    }
    return std::nullopt;
  }
  void for_each(const std::function<void(const Topic&)>& fn) const override {
    for (const auto& [name, entry] : entries_) fn({name, entry.id, entry.partitions});
  }
  int64_t version() const override { return version_; }
  const Entries& entries() const { return entries_; }

 private:
  Entries entries_;
  int64_t version_;
};

}  // namespace millrace::coordinator
