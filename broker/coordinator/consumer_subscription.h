// The consumer protocol's formats, as far as a coordinator reads and writes them: what a classic consumer
// says when it joins, and what it is told when it syncs.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"

namespace millrace::coordinator {

struct NamedPartitions {
  std::string_view topic;
  std::vector<int32_t> partitions;
};

// A ConsumerProtocolSubscription; views into the bytes.
struct ConsumerSubscription {
  int16_t version = 0;
  std::vector<std::string_view> topics;
  std::vector<NamedPartitions> owned;    // v1+
  std::optional<std::string_view> rack;  // v3+
};

// A ConsumerProtocolAssignment; views into the bytes.
struct ConsumerAssignment {
  std::vector<NamedPartitions> partitions;
  Bytes user_data;
};

// Of any version: a newer one is read as far as it is known. Nothing when the bytes are something else.
std::optional<ConsumerSubscription> read_subscription(Bytes metadata);
std::optional<ConsumerAssignment> read_assignment(Bytes assignment);

// Only the topics of a subscription, which all versions start with.
std::optional<std::vector<std::string_view>> subscribed_topics(Bytes metadata);

// An assignment without user data, in a version that its reader knows.
Buffer write_assignment(int16_t version, const std::map<std::string, std::vector<int32_t>>& partitions);

}  // namespace millrace::coordinator
