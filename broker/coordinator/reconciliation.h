// How a member of a consumer group (KIP-848) gets from what it owns to what it shall own, one heartbeat at a
// time: first it gives up what isn't its own any more, then it gets what others have given up. No member ever
// gets a partition that another may still be reading.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>

#include "broker/coordinator/group_record.h"
#include "protocol/result.h"

namespace millrace::coordinator {

struct Reconciliation {
  const MemberAssignment& current;
  int32_t target_epoch = 0;
  const Assignment& target;
  const std::set<Uuid>& subscribed;  // the member's topics: of others it shall own nothing
  bool subscription_changed = false;
  const Assignment* reported = nullptr;  // what the member says it owns; null if it says nothing
  // Whether another member owns a partition, or has yet to give it up.
  std::function<bool(const Uuid&, int32_t)> owned_by_other;
};

// The member's next assignment; nothing if there is no change. Fails with kFencedMemberEpoch for a member in
// a state that only a later Kafka knows: it has to rejoin without partitions.
Result<std::optional<MemberAssignment>> reconcile(const Reconciliation& input);

}  // namespace millrace::coordinator
