// Members of consumer groups for tests, of either protocol, as their clients see them.
#pragma once

#include <catch2/catch.hpp>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/coordinator/consumer_subscription.h"
#include "tests/broker/coordinator/group_driver.h"

namespace millrace::coordinator {

using Names = std::vector<std::string_view>;

// A member's side: what it was told last, and heartbeats that say so.
struct Member {
  GroupDriver& driver;
  std::string id;
  std::optional<std::string_view> instance = std::nullopt;
  int32_t epoch = 0;
  Assignment owned = {};

  ConsumerHeartbeatResult send(ConsumerHeartbeat request) {
    request.group = "g";
    request.member = id;
    request.epoch = epoch;
    request.instance = instance;
    request.client_id = "client";
    request.client_host = "/127.0.0.1";
    const auto result = driver.call<ConsumerHeartbeatResult>(request);
    if (result.error.code == ErrorCode::kNone) {
      epoch = result.epoch;
      if (result.assignment) owned = *result.assignment;
    }
    return result;
  }
  ConsumerHeartbeatResult join(Names topics = {"t"}, std::optional<std::string_view> regex = {},
                               std::optional<std::string_view> assignor = {}) {
    ConsumerHeartbeat request;
    request.rebalance_timeout_ms = 60'000;
    request.topics = std::move(topics);
    request.regex = regex;
    request.assignor = assignor;
    request.owned.emplace();
    epoch = 0;
    owned.clear();
    return send(request);
  }
  ConsumerHeartbeatResult beat() {
    ConsumerHeartbeat request;
    request.owned = owned;
    return send(request);
  }
  // Without a word about what it owns.
  ConsumerHeartbeatResult beat_briefly() { return send({}); }
  ErrorCode leave(int32_t how = kLeavingEpoch) {
    const int32_t last = std::exchange(epoch, how);
    const ErrorCode error = send({}).error.code;
    epoch = last;
    return error;
  }
  size_t partitions() const {
    size_t count = 0;
    for (const auto& [topic, numbers] : owned) count += numbers.size();
    return count;
  }
};

inline void settle(std::initializer_list<Member*> members) {
  for (int i = 0; i < 6; ++i) {
    for (Member* member : members) CHECK(member->beat().error.code == ErrorCode::kNone);
  }
}

// A subscription (version 0) to these topics, as classic members send it.
inline Buffer subscription_to(const Names& topics) {
  std::string text("\0\0\0\0\0", 5);
  text += static_cast<char>(topics.size());
  for (const std::string_view topic : topics) {
    text += '\0';
    text += static_cast<char>(topic.size());
    text += topic;
  }
  text += std::string(4, '\0');
  return Buffer(bytes(text).begin(), bytes(text).end());
}

// A member of the group "g" that speaks the classic protocol.
struct ClassicClient {
  GroupDriver& driver;
  Names topics = {"t"};
  std::string id = {};
  int32_t generation = -1;
  std::map<std::string, std::vector<int32_t>> owned = {};
  int rejoins = 0;
  Buffer metadata = {};

  uint64_t send_join() {
    metadata = subscription_to(topics);
    JoinGroup request = coordinator::join("g", id);
    request.protocols = {{"range", metadata}};
    return driver.send(request);
  }
  void joined(uint64_t ticket) {
    const auto result = driver.answer<JoinGroupResult>(ticket);
    REQUIRE(result.error == ErrorCode::kNone);
    id = result.member;
    generation = result.generation;
  }
  // Also says what the members get, if this one leads a classic group: everything to itself.
  ErrorCode sync(const std::map<std::string, std::vector<int32_t>>& mine = {}) {
    const Buffer assignment = write_assignment(0, mine);
    SyncGroup request{.group = "g", .member = id, .generation = generation};
    if (!mine.empty()) request.assignments = {{id, assignment}};
    const auto result = driver.call<SyncGroupResult>(request);
    const auto read = read_assignment(result.assignment);
    owned.clear();
    if (result.error != ErrorCode::kNone || !read) return result.error;
    for (const NamedPartitions& named : read->partitions) owned[std::string(named.topic)] = named.partitions;
    return result.error;
  }
  void join() {
    joined(send_join());
    CHECK(sync() == ErrorCode::kNone);
  }
  // Joins again if it is told to.
  ErrorCode beat() {
    const auto error = driver.call<HeartbeatResult>(Heartbeat{"g", id, {}, generation}).error;
    if (error != ErrorCode::kRebalanceInProgress) return error;
    ++rejoins;
    join();
    return error;
  }
};

}  // namespace millrace::coordinator
