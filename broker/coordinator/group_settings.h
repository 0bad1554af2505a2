// The settings that a group coordinator works by. Kafka's names stand beside each; the settings table fills
// them.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace millrace::coordinator {

// Whether a group changes its protocol when a member of the other one joins, or the last one leaves.
enum class MigrationPolicy : uint8_t { kDisabled, kUpgrade, kDowngrade, kBidirectional };

struct GroupSettings {
  int32_t min_session_timeout_ms = 6'000;                    // group.min.session.timeout.ms
  int32_t max_session_timeout_ms = 1'800'000;                // group.max.session.timeout.ms
  int32_t initial_rebalance_delay_ms = 3'000;                // group.initial.rebalance.delay.ms
  int32_t max_size = std::numeric_limits<int32_t>::max();    // group.max.size
  int32_t offset_metadata_max_bytes = 4'096;                 // offset.metadata.max.bytes
  int64_t offsets_retention_ms = 7LL * 24 * 60 * 60 * 1000;  // offsets.retention.minutes
  int64_t offsets_retention_check_interval_ms = 600'000;     // offsets.retention.check.interval.ms

  int32_t consumer_session_timeout_ms = 45'000;                        // group.consumer.session.timeout.ms
  int32_t consumer_heartbeat_interval_ms = 5'000;                      // group.consumer.heartbeat.interval.ms
  int32_t consumer_max_size = std::numeric_limits<int32_t>::max();     // group.consumer.max.size
  std::vector<std::string> consumer_assignors = {"uniform", "range"};  // group.consumer.assignors; not empty
  MigrationPolicy consumer_migration_policy =
      MigrationPolicy::kBidirectional;  // group.consumer.migration.policy

  // How long a member that knows its id only from an answer it still waits for may wait; Kafka has no setting
  // for it.
  int32_t new_member_join_timeout_ms = 5 * 60 * 1000;
  // Members of one group that were given an id and have not joined with it yet. A client that asks for ids
  // without ever using one can't fill the memory; Kafka has no such limit.
  int32_t max_pending_members = 10'000;
  // Bytes that one group's members hold by what they sent and were assigned, of either protocol; and
  // those of all groups of one shard, with groups that have committed nothing: members that join and vanish
  // can't fill the memory. Kafka has no such limits. What was read from the log counts, and is never refused.
  int64_t max_group_bytes = 32LL << 20;
  int64_t max_members_bytes = 128LL << 20;
  // Bytes that committed positions take on one shard, with their groups: some millions.
  int64_t max_positions_bytes = 512LL << 20;
};

}  // namespace millrace::coordinator
