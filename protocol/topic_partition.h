// Names of a partition: by topic id (inside the broker) or by topic name (towards people).
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

#include "protocol/uuid.h"

namespace millrace {

struct TopicIdPartition {
  Uuid topic_id;
  int32_t partition = 0;
  auto operator<=>(const TopicIdPartition&) const = default;
};

struct TopicPartition {
  std::string topic;
  int32_t partition = 0;
  auto operator<=>(const TopicPartition&) const = default;
};

}  // namespace millrace

template <>
struct std::hash<millrace::TopicIdPartition> {
  size_t operator()(const millrace::TopicIdPartition& id) const noexcept {
    return std::hash<millrace::Uuid>()(id.topic_id) * 31 + static_cast<uint32_t>(id.partition);
  }
};
