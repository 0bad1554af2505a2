// Membership of a consumer group by the consumer protocol (KIP-848), with one topic: joining, heartbeats,
// leaving. What is assigned, and that it is read or no longer read, is all that it knows of partitions.
//
// Of the two protocols this one needs no assignor and no barrier in the client: a heartbeat says what is
// owned and is told what should be.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "tools/client/cluster.h"
#include "tools/client/group_offsets.h"

namespace millrace::tools {

class Membership {
 public:
  // Joins with the first heartbeat. The cluster must outlive it, and is used by nobody else meanwhile: its
  // connections must be free.
  // `instance` makes it a static member: when it leaves, its partitions wait for its next start.
  Membership(Cluster& cluster, std::string group, TopicInfo topic, std::optional<std::string> instance);

  bool due() const { return next_.passed(); }
  // Never below 0.
  int64_t due_in_ms() const { return next_.left_ms(); }
  // The next heartbeat is due now: there is something to tell.
  void hurry() { next_ = Deadline::after_ms(0); }

  // Tells the coordinator what is owned; `assigned` has its answer then. Joins if this is no member, and
  // nothing may be owned then.
  // kFencedMemberEpoch, kUnknownMemberId, and kGroupIdNotFound after it has joined: the group has gone on
  // without this member, or is gone; what it owned is somebody else's by now. kUnreleasedInstanceId: another
  // member is this instance; it is due again in a second. Others are for a person; what trying again would
  // mend has been tried.
  Result<void> heartbeat(const std::set<int32_t>& owned);
  const std::set<int32_t>& assigned() const;
  // The coordinator assigns partitions of a topic of another id: the one of that name was made anew.
  bool assigns_another_topic() const;
  // From now on `assigned` is of this one, of the same name; nothing may be owned.
  void set_topic(TopicInfo topic) { topic_ = std::move(topic); }
  // The next heartbeat joins anew.
  void forget();
  bool has_joined() const { return epoch_ > 0; }
  // Gives all partitions back at once; those of a static member stay its own until its session ends. Does
  // nothing if it is no member.
  Result<void> leave();

  // For commits as this member.
  Committer committer() const { return {member_id_, epoch_}; }

 private:
  Cluster& cluster_;
  std::string group_;
  TopicInfo topic_;
  std::optional<std::string> instance_;
  std::string member_id_;
  // 0 until it has joined.
  int32_t epoch_ = 0;
  // As the coordinator said it last.
  std::map<Uuid, std::set<int32_t>> assigned_;
  Deadline next_ = Deadline::after_ms(0);
};

}  // namespace millrace::tools
