// Drives a GroupCoordinator as its runtime does, with a log in memory and a clock that the test moves.
#pragma once

#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/coordinator/group_coordinator.h"
#include "tests/broker/coordinator/records_of.h"
#include "tests/broker/coordinator/test_topics.h"

namespace millrace::coordinator {

class TestGroupConfigs final : public GroupConfigs {
 public:
  using Entries = std::map<std::string, metadata::GroupConfig, std::less<>>;
  explicit TestGroupConfigs(Entries entries) : entries_(std::move(entries)) {}

  std::optional<metadata::GroupConfig> find(std::string_view group) const override {
    const auto found = entries_.find(group);
    return found == entries_.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  const Entries entries_;
};

class GroupDriver {
 public:
  explicit GroupDriver(GroupSettings settings = {}) : settings_(settings) { start(); }

  GroupCoordinator& machine() { return *machine_; }
  const std::vector<GroupRecord>& log() const { return log_; }
  int64_t now_ms = 1'000'000;
  bool auto_commit = true;                 // otherwise commit() has to be called
  std::optional<ErrorCode> append_error;   // what the log says to all appends
  std::optional<ErrorCode> classic_error;  // what it says to the state of a classic group
  uint64_t tickets = 0;
  size_t writes = 0;  // so far, refused ones too
  const std::shared_ptr<GroupMemory> memory = std::make_shared<GroupMemory>();
  std::string warning;  // the last one

  uint64_t send(const GroupRequest& request) {
    const uint64_t ticket = ++tickets;
    take(machine_->handle(ticket, request, now_ms));
    return ticket;
  }
  bool answered(uint64_t ticket) const { return answers_.contains(ticket); }
  template <class T>
  T answer(uint64_t ticket) const {
    INFO("ticket " << ticket);
    REQUIRE(answers_.contains(ticket));
    return std::get<T>(answers_.at(ticket));
  }
  // Sends and expects the answer at once.
  template <class T>
  T call(const GroupRequest& request) {
    return answer<T>(send(request));
  }

  // A topic that is new, has other partitions, or (with none) is gone. Returns its id.
  Uuid set_topic(const std::string& name, int32_t partitions) {
    if (partitions == 0) {
      topics_.erase(name);
    } else {
      auto [topic, fresh] = topics_.try_emplace(name, TestTopics::Entry{Uuid::from_random(++uuids_, 7), 0});
      topic->second.partitions = partitions;
    }
    const std::vector<std::string_view> changed = {name};
    machine_->topics_changed(std::make_shared<TestTopics>(topics_, ++topics_version_), changed);
    return partitions == 0 ? Uuid{} : topics_.at(name).id;
  }

  // What the group has configured of its own; nothing: no longer anything.
  void set_config(const std::string& group, std::optional<metadata::GroupConfig> config) {
    config ? static_cast<void>(configs_[group] = *config) : static_cast<void>(configs_.erase(group));
    machine_->configs_changed(std::make_shared<TestGroupConfigs>(configs_));
  }

  void commit() { take(machine_->committed(static_cast<int64_t>(log_.size()), now_ms)); }
  // Time passes; every deadline on the way is met in order.
  void advance(int64_t by_ms) {
    const int64_t until = now_ms + by_ms;
    while (const auto deadline = machine_->next_deadline()) {
      if (*deadline > until) break;
      now_ms = std::max(now_ms, *deadline);
      take(machine_->expire(now_ms));
    }
    now_ms = until;
  }
  // The broker stops and starts: all that is left is the log. Open requests are answered NOT_COORDINATOR.
  void restart() {
    take(machine_->unload(ErrorCode::kNotCoordinator));
    start();
  }
  // Same after a crash that lost what was not committed.
  void crash(size_t keep) {
    take(machine_->unload(ErrorCode::kNotCoordinator));
    log_.resize(keep);
    start();
  }
  void take(Effects effects) {
    for (Answer& answer : effects.answers) {
      INFO("ticket " << answer.ticket << " is answered twice");
      REQUIRE(answers_.emplace(answer.ticket, std::move(answer.response)).second);
    }
    if (effects.warning) warning = *effects.warning;
    for (Write& write : effects.writes) {
      const std::vector<GroupRecord> records = records_of(write);
      REQUIRE_FALSE(records.empty());
      ++writes;
      const auto* classic = std::get_if<GroupMetadataRecord>(&records.back());
      const bool refuses = classic_error && classic != nullptr && classic->value;
      if (append_error || refuses) {
        take(
            machine_->failed(write, append_error.value_or(classic_error.value_or(ErrorCode::kNone)), now_ms));
        continue;
      }
      const auto base = static_cast<int64_t>(log_.size());
      log_.insert(log_.end(), records.begin(), records.end());
      machine_->appended(std::move(write), base, now_ms);
    }
    const bool wrote = !effects.writes.empty();
    machine_->take_back(std::move(effects));
    if (auto_commit && wrote) commit();
  }

 private:
  void start() {
    machine_ = std::make_unique<GroupCoordinator>(
        settings_, [this] { return Uuid::from_random(++uuids_, 0); }, memory);
    machine_->topics_changed(std::make_shared<TestTopics>(topics_, topics_version_), std::nullopt);
    machine_->configs_changed(std::make_shared<TestGroupConfigs>(configs_));
    for (size_t i = 0; i < log_.size(); ++i) machine_->replay(log_[i], static_cast<int64_t>(i));
    take(machine_->loaded(static_cast<int64_t>(log_.size()), now_ms));
  }

  GroupSettings settings_;
  uint64_t uuids_ = 0;
  TestTopics::Entries topics_;
  int64_t topics_version_ = 1;
  TestGroupConfigs::Entries configs_;
  std::vector<GroupRecord> log_;
  std::unique_ptr<GroupCoordinator> machine_;
  std::map<uint64_t, GroupResponse> answers_;
};

inline Bytes bytes(std::string_view text) { return as_bytes(text); }

inline JoinGroup join(std::string_view group, std::string_view member = "") {
  JoinGroup request;
  request.group = group;
  request.member = member;
  request.protocol_type = "consumer";
  request.protocols = {{"range", bytes("metadata")}};
  request.session_timeout_ms = 10'000;
  request.rebalance_timeout_ms = 60'000;
  request.client_id = "client";
  request.client_host = "/127.0.0.1";
  return request;
}

// A member as its client sees it: what it was told last.
struct TestMember {
  std::string id;
  int32_t generation = -1;
  std::string leader;
  std::string assignment;
};

inline std::string text(const Buffer& buffer) { return std::string(as_text(buffer)); }

inline OffsetCommit commit(std::string_view group, std::string_view topic, int32_t partition,
                           int64_t offset) {
  OffsetCommit request;
  request.group = group;
  request.topics = {{topic, {}, {{partition, offset, -1, "note"}}}};
  return request;
}

inline OffsetFetch fetch(std::string_view group, std::string_view topic, int32_t partition) {
  OffsetFetch request;
  request.group = group;
  request.topics = {{topic, {}, {partition}}};
  return request;
}

}  // namespace millrace::coordinator
