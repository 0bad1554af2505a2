#include "tests/broker/coordinator/group_driver.h"

namespace millrace::coordinator {
namespace {

using Code = ErrorCode;

SyncGroup sync(std::string_view group, std::string_view member, int32_t generation) {
  SyncGroup request;
  request.group = group;
  request.member = member;
  request.generation = generation;
  return request;
}

// A stable group of one dynamic member without static id; returns the member's id.
std::string stable_member(GroupDriver& driver, std::string_view group,
                          std::optional<std::string_view> instance = {}) {
  JoinGroup request = join(group);
  request.instance = instance;
  const uint64_t ticket = driver.send(request);
  driver.advance(3'000);
  const auto joined = driver.answer<JoinGroupResult>(ticket);
  REQUIRE(joined.error == Code::kNone);
  SyncGroup leader = sync(group, joined.member, joined.generation);
  leader.assignments = {{joined.member, bytes("all")}};
  REQUIRE(text(driver.call<SyncGroupResult>(leader).assignment) == "all");
  return joined.member;
}

TEST_CASE("a first join is answered with an id when the client's version knows that") {
  GroupDriver driver;
  JoinGroup request = join("g");
  request.member_id_required = true;
  const auto first = driver.call<JoinGroupResult>(request);
  CHECK(first.error == Code::kMemberIdRequired);
  CHECK(first.member.starts_with("client-"));
  CHECK(first.member.size() == 7 + 36);

  request.member = first.member;
  const uint64_t second = driver.send(request);
  CHECK_FALSE(driver.answered(second));
  driver.advance(2'999);
  CHECK_FALSE(driver.answered(second));
  driver.advance(1);
  const auto joined = driver.answer<JoinGroupResult>(second);
  CHECK(joined.error == Code::kNone);
  CHECK(joined.generation == 1);
  CHECK(joined.leader == first.member);
  CHECK(joined.protocol == "range");
  CHECK(joined.protocol_type == "consumer");
  REQUIRE(joined.members.size() == 1);
  CHECK(text(joined.members[0].metadata) == "metadata");
}

TEST_CASE("an id that nobody joins with is forgotten after its session") {
  GroupDriver driver;
  JoinGroup request = join("g");
  request.member_id_required = true;
  const auto first = driver.call<JoinGroupResult>(request);
  driver.advance(10'000);
  request.member = first.member;
  CHECK(driver.call<JoinGroupResult>(request).error == Code::kUnknownMemberId);
}

TEST_CASE("ids are not handed out without end") {
  GroupSettings settings;
  settings.max_pending_members = 3;
  GroupDriver driver(settings);
  JoinGroup request = join("g");
  request.member_id_required = true;
  for (int i = 0; i < 3; ++i) CHECK(driver.call<JoinGroupResult>(request).error == Code::kMemberIdRequired);
  CHECK(driver.call<JoinGroupResult>(request).error == Code::kGroupMaxSizeReached);
}

TEST_CASE("joins are refused with Kafka's error") {
  GroupDriver driver;
  JoinGroup request = join("");
  CHECK(driver.call<JoinGroupResult>(request).error == Code::kInvalidGroupId);
  request = join("g");
  request.session_timeout_ms = 5'999;
  CHECK(driver.call<JoinGroupResult>(request).error == Code::kInvalidSessionTimeout);
  request.session_timeout_ms = 1'800'001;
  CHECK(driver.call<JoinGroupResult>(request).error == Code::kInvalidSessionTimeout);
  request = join("g", "nobody");
  CHECK(driver.call<JoinGroupResult>(request).error == Code::kUnknownMemberId);
  request = join("g");
  request.protocols.clear();
  CHECK(driver.call<JoinGroupResult>(request).error == Code::kInconsistentGroupProtocol);
  CHECK(driver.machine().group_count() == 0);
}

TEST_CASE("a member of another type or without a common protocol is refused") {
  GroupDriver driver;
  stable_member(driver, "g");
  JoinGroup request = join("g");
  request.protocol_type = "connect";
  CHECK(driver.call<JoinGroupResult>(request).error == Code::kInconsistentGroupProtocol);
  request = join("g");
  request.protocols = {{"sticky", {}}};
  CHECK(driver.call<JoinGroupResult>(request).error == Code::kInconsistentGroupProtocol);
}

TEST_CASE("the initial delay is extended while members come, up to the rebalance timeout") {
  GroupDriver driver;
  JoinGroup request = join("g");
  request.rebalance_timeout_ms = 7'000;
  const uint64_t first = driver.send(request);
  driver.advance(2'000);
  const uint64_t second = driver.send(request);
  driver.advance(1'000);
  CHECK_FALSE(driver.answered(first));
  driver.advance(2'999);
  CHECK_FALSE(driver.answered(first));
  driver.advance(1);
  CHECK(driver.answered(first));
  CHECK(driver.answer<JoinGroupResult>(second).generation == 1);
}

TEST_CASE("the protocol is the one that most members prefer among those that all support") {
  GroupDriver driver;
  JoinGroup request = join("g");
  request.protocols = {{"range", {}}, {"sticky", {}}};
  const uint64_t first = driver.send(request);
  request.protocols = {{"own", {}}, {"sticky", {}}, {"range", {}}};
  const uint64_t second = driver.send(request);
  const uint64_t third = driver.send(request);
  driver.advance(10'000);
  CHECK(driver.answer<JoinGroupResult>(first).protocol == "sticky");
  CHECK(driver.answer<JoinGroupResult>(second).protocol == "sticky");
  CHECK(driver.answer<JoinGroupResult>(third).members.empty() !=
        (driver.answer<JoinGroupResult>(third).leader == driver.answer<JoinGroupResult>(third).member));
}

TEST_CASE("a protocol named twice counts once") {
  GroupDriver driver;
  JoinGroup request = join("g");
  request.protocols = {{"range", bytes("first")}, {"range", bytes("second")}};
  const uint64_t ticket = driver.send(request);
  driver.advance(3'000);
  const auto joined = driver.answer<JoinGroupResult>(ticket);
  CHECK(joined.protocol == "range");
  CHECK(text(joined.members.at(0).metadata) == "first");
}

TEST_CASE("a second member makes the first rejoin; the leader's assignment reaches both") {
  GroupDriver driver;
  const std::string first = stable_member(driver, "g");
  const uint64_t joining = driver.send(join("g"));
  Heartbeat beat{"g", first, {}, 1};
  CHECK(driver.call<HeartbeatResult>(beat).error == Code::kRebalanceInProgress);
  CHECK(driver.call<SyncGroupResult>(sync("g", first, 1)).error == Code::kRebalanceInProgress);
  const uint64_t again = driver.send(join("g", first));
  const auto leader = driver.answer<JoinGroupResult>(again);
  const auto follower = driver.answer<JoinGroupResult>(joining);
  CHECK(leader.generation == 2);
  CHECK(follower.generation == 2);
  CHECK(leader.leader == first);
  CHECK(leader.members.size() == 2);
  CHECK(follower.members.empty());

  const uint64_t waiting = driver.send(sync("g", follower.member, 2));
  CHECK_FALSE(driver.answered(waiting));
  SyncGroup assign = sync("g", first, 2);
  assign.assignments = {{first, bytes("one")}, {follower.member, bytes("two")}};
  CHECK(text(driver.call<SyncGroupResult>(assign).assignment) == "one");
  CHECK(text(driver.answer<SyncGroupResult>(waiting).assignment) == "two");
  CHECK(driver.call<HeartbeatResult>(Heartbeat{"g", first, {}, 2}).error == Code::kNone);
  CHECK(text(driver.call<SyncGroupResult>(sync("g", follower.member, 2)).assignment) == "two");
}

TEST_CASE("an assignment is given out only once it is committed") {
  GroupDriver driver;
  const uint64_t ticket = driver.send(join("g"));
  driver.advance(3'000);
  const auto joined = driver.answer<JoinGroupResult>(ticket);
  driver.auto_commit = false;
  SyncGroup assign = sync("g", joined.member, 1);
  assign.assignments = {{joined.member, bytes("all")}};
  const uint64_t waiting = driver.send(assign);
  CHECK_FALSE(driver.answered(waiting));
  driver.commit();
  CHECK(text(driver.answer<SyncGroupResult>(waiting).assignment) == "all");
}

TEST_CASE("a group that is deleted and made again doesn't get the assignment of the former one") {
  GroupSettings settings;
  settings.initial_rebalance_delay_ms = 0;
  GroupDriver driver(settings);
  driver.auto_commit = false;
  const auto joins = [&] {
    const uint64_t ticket = driver.send(join("g"));
    driver.advance(0);
    return driver.answer<JoinGroupResult>(ticket);
  };
  const auto first = joins();
  SyncGroup former = sync("g", first.member, first.generation);
  former.assignments = {{first.member, bytes("former")}};
  driver.send(former);
  driver.send(LeaveGroup{"g", {{first.member, {}, {}}}});
  const uint64_t deleting = driver.send(DeleteGroup{"g"});
  const auto second = joins();
  CHECK(second.generation == first.generation);
  driver.commit();
  CHECK(driver.answer<DeleteGroupResult>(deleting).error == Code::kNone);
  CHECK(driver.call<DescribeGroupResult>(DescribeGroup{"g"}).state == "CompletingRebalance");
  SyncGroup latter = sync("g", second.member, second.generation);
  latter.assignments = {{second.member, bytes("latter")}};
  const uint64_t syncing = driver.send(latter);
  CHECK_FALSE(driver.answered(syncing));
  driver.commit();
  CHECK(text(driver.answer<SyncGroupResult>(syncing).assignment) == "latter");
  driver.restart();
  CHECK(text(driver.call<SyncGroupResult>(latter).assignment) == "latter");
}

TEST_CASE("when an assignment can't be stored the members hear of it and rebalance") {
  GroupDriver driver;
  const uint64_t ticket = driver.send(join("g"));
  driver.advance(3'000);
  const auto joined = driver.answer<JoinGroupResult>(ticket);
  driver.append_error = Code::kNotEnoughReplicas;
  CHECK(driver.call<SyncGroupResult>(sync("g", joined.member, 1)).error == Code::kCoordinatorNotAvailable);
  CHECK(driver.call<HeartbeatResult>(Heartbeat{"g", joined.member, {}, 1}).error ==
        Code::kRebalanceInProgress);
}

TEST_CASE("a sync of another generation, protocol or member is refused") {
  GroupDriver driver;
  const std::string member = stable_member(driver, "g");
  CHECK(driver.call<SyncGroupResult>(sync("g", member, 2)).error == Code::kIllegalGeneration);
  CHECK(driver.call<SyncGroupResult>(sync("g", "nobody", 1)).error == Code::kUnknownMemberId);
  CHECK(driver.call<SyncGroupResult>(sync("", member, 1)).error == Code::kInvalidGroupId);
  CHECK(driver.call<SyncGroupResult>(sync("other", member, 1)).error == Code::kUnknownMemberId);
  SyncGroup request = sync("g", member, 1);
  request.protocol_type = "connect";
  CHECK(driver.call<SyncGroupResult>(request).error == Code::kInconsistentGroupProtocol);
  request.protocol_type = "consumer";
  request.protocol = "sticky";
  CHECK(driver.call<SyncGroupResult>(request).error == Code::kInconsistentGroupProtocol);
}

TEST_CASE("a silent member is out after its session, and its group is empty") {
  GroupDriver driver;
  const std::string member = stable_member(driver, "g");
  driver.advance(9'999);
  CHECK(driver.call<HeartbeatResult>(Heartbeat{"g", member, {}, 1}).error == Code::kNone);
  driver.advance(9'999);
  CHECK(driver.call<DescribeGroupResult>(DescribeGroup{"g"}).state == "Stable");
  driver.advance(1);
  CHECK(driver.call<DescribeGroupResult>(DescribeGroup{"g"}).state == "Empty");
  CHECK(driver.call<HeartbeatResult>(Heartbeat{"g", member, {}, 1}).error == Code::kUnknownMemberId);
  const auto& last = std::get<GroupMetadataRecord>(driver.log().back());
  REQUIRE(last.value);
  CHECK(last.value->generation == 2);
  CHECK(last.value->members.empty());
}

TEST_CASE("members that don't rejoin within the rebalance timeout are out") {
  GroupDriver driver;
  const std::string first = stable_member(driver, "g");
  const uint64_t joining = driver.send(join("g"));
  for (int i = 0; i < 12; ++i) {
    driver.advance(5'000);
    driver.send(Heartbeat{"g", first, {}, 1});
  }
  const auto joined = driver.answer<JoinGroupResult>(joining);
  CHECK(joined.generation == 2);
  CHECK(joined.leader == joined.member);
  CHECK(joined.members.size() == 1);
  CHECK(driver.call<HeartbeatResult>(Heartbeat{"g", first, {}, 1}).error == Code::kUnknownMemberId);
}

TEST_CASE("members that don't sync within the rebalance timeout are out") {
  GroupDriver driver;
  JoinGroup request = join("g");
  request.rebalance_timeout_ms = 5'000;
  const uint64_t a = driver.send(request);
  const uint64_t b = driver.send(request);
  driver.advance(5'000);
  const auto first = driver.answer<JoinGroupResult>(a);
  const auto second = driver.answer<JoinGroupResult>(b);
  const bool first_leads = first.leader == first.member;
  const std::string follower = first_leads ? second.member : first.member;
  const uint64_t waiting = driver.send(sync("g", follower, 1));
  driver.advance(5'000);
  CHECK(driver.answer<SyncGroupResult>(waiting).error == Code::kRebalanceInProgress);
  const auto group = driver.call<DescribeGroupResult>(DescribeGroup{"g"});
  REQUIRE(group.members.size() == 1);
  CHECK(group.members[0].member == follower);
}

TEST_CASE("a follower that joins again unchanged gets its generation, the leader a new one") {
  GroupDriver driver;
  const std::string leader = stable_member(driver, "g");
  const uint64_t joining = driver.send(join("g"));
  driver.send(join("g", leader));
  const std::string follower = driver.answer<JoinGroupResult>(joining).member;
  CHECK(driver.call<JoinGroupResult>(join("g", follower)).generation == 2);
  driver.send(sync("g", leader, 2));
  const auto again = driver.call<JoinGroupResult>(join("g", follower));
  CHECK(again.generation == 2);
  CHECK(again.members.empty());
  const uint64_t rebalance = driver.send(join("g", leader));
  CHECK_FALSE(driver.answered(rebalance));
  CHECK(driver.call<HeartbeatResult>(Heartbeat{"g", follower, {}, 2}).error == Code::kRebalanceInProgress);
}

TEST_CASE("a join that its client repeats is answered once it is replaced") {
  GroupDriver driver;
  const std::string first = stable_member(driver, "g");
  driver.send(join("g"));
  driver.send(join("g"));
  const uint64_t lost = driver.send(join("g", first));
  CHECK(driver.answered(lost));  // all three have joined
  driver.send(join("g"));
  const uint64_t old = driver.send(join("g", first));
  const uint64_t repeated = driver.send(join("g", first));
  CHECK(driver.answer<JoinGroupResult>(old).error == Code::kRebalanceInProgress);
  CHECK_FALSE(driver.answered(repeated));
}

TEST_CASE("a group holds at most group.max.size members") {
  GroupSettings settings;
  settings.max_size = 2;
  GroupDriver driver(settings);
  const uint64_t a = driver.send(join("g"));
  const uint64_t b = driver.send(join("g"));
  CHECK(driver.call<JoinGroupResult>(join("g")).error == Code::kGroupMaxSizeReached);
  driver.advance(6'000);
  CHECK(driver.answer<JoinGroupResult>(a).error == Code::kNone);
  CHECK(driver.answer<JoinGroupResult>(b).error == Code::kNone);
  CHECK(driver.call<JoinGroupResult>(join("g")).error == Code::kGroupMaxSizeReached);
}

TEST_CASE("a static member that restarts takes its place back without a rebalance") {
  GroupDriver driver;
  const std::string old_id = stable_member(driver, "g", "instance-1");
  CHECK(old_id.starts_with("instance-1-"));
  JoinGroup request = join("g");
  request.instance = "instance-1";
  request.can_skip_assignment = GENERATE(true, false);
  const auto joined = driver.call<JoinGroupResult>(request);
  CHECK(joined.error == Code::kNone);
  CHECK(joined.generation == 1);
  CHECK(joined.member != old_id);
  CHECK(joined.skip_assignment == request.can_skip_assignment);
  CHECK(joined.leader == (request.can_skip_assignment ? joined.member : old_id));
  CHECK(text(driver.call<SyncGroupResult>(sync("g", joined.member, 1)).assignment) == "all");

  // The former process is fenced, in every call.
  CHECK(driver.call<HeartbeatResult>(Heartbeat{"g", old_id, "instance-1", 1}).error ==
        Code::kFencedInstanceId);
  SyncGroup fenced = sync("g", old_id, 1);
  fenced.instance = "instance-1";
  CHECK(driver.call<SyncGroupResult>(fenced).error == Code::kFencedInstanceId);
  request.member = old_id;
  CHECK(driver.call<JoinGroupResult>(request).error == Code::kFencedInstanceId);
  OffsetCommit late = commit("g", "t", 0, 1);
  late.member = old_id;
  late.instance = "instance-1";
  late.generation = 1;
  CHECK(driver.call<OffsetCommitResult>(late).errors[0] == Code::kFencedInstanceId);
  const auto left = driver.call<LeaveGroupResult>(LeaveGroup{"g", {{old_id, "instance-1", {}}}});
  CHECK(left.members.at(0).error == Code::kFencedInstanceId);
  CHECK(driver.call<HeartbeatResult>(Heartbeat{"g", joined.member, "instance-2", 1}).error ==
        Code::kUnknownMemberId);
}

TEST_CASE("a static member's new id that can't be stored leaves the old one in place") {
  GroupDriver driver;
  const std::string old_id = stable_member(driver, "g", "instance-1");
  driver.append_error = Code::kNotLeaderOrFollower;
  JoinGroup request = join("g");
  request.instance = "instance-1";
  CHECK(driver.call<JoinGroupResult>(request).error == Code::kNotCoordinator);
  CHECK(driver.call<HeartbeatResult>(Heartbeat{"g", old_id, "instance-1", 1}).error == Code::kNone);
}

TEST_CASE("a static member that comes back during a rebalance joins it") {
  GroupDriver driver;
  const std::string old_id = stable_member(driver, "g", "instance-1");
  const uint64_t other = driver.send(join("g"));
  JoinGroup request = join("g");
  request.instance = "instance-1";
  const uint64_t ticket = driver.send(request);
  const auto joined = driver.answer<JoinGroupResult>(ticket);
  CHECK(joined.generation == 2);
  CHECK(driver.answer<JoinGroupResult>(other).generation == 2);
  // And while assignments are on their way, it begins another one: the leader only knows the old id.
  JoinGroup again = join("g");
  again.instance = "instance-1";
  driver.send(again);
  CHECK(driver.call<DescribeGroupResult>(DescribeGroup{"g"}).state == "PreparingRebalance");
  CHECK(driver.call<HeartbeatResult>(Heartbeat{"g", joined.member, "instance-1", 2}).error ==
        Code::kFencedInstanceId);
}

TEST_CASE("static members that are away keep their place until their session ends") {
  GroupDriver driver;
  stable_member(driver, "g", "instance-1");
  JoinGroup request = join("g");
  request.rebalance_timeout_ms = 4'000;
  // The static member's rebalance timeout is 60 s, so the rebalance waits until its session is over.
  const uint64_t other = driver.send(request);
  driver.advance(9'999);
  CHECK_FALSE(driver.answered(other));
  driver.advance(1);
  CHECK(driver.answer<JoinGroupResult>(other).members.size() == 1);
}

TEST_CASE("leaving ends membership at once; an administrator removes static members by instance") {
  GroupDriver driver;
  stable_member(driver, "g", "instance-1");
  auto left =
      driver.call<LeaveGroupResult>(LeaveGroup{"g", {{"", "instance-1", "scaled down"}, {"nobody", {}, {}}}});
  CHECK(left.error == Code::kNone);
  CHECK(left.members.at(0).error == Code::kNone);
  CHECK(left.members.at(1).error == Code::kUnknownMemberId);
  CHECK(driver.call<DescribeGroupResult>(DescribeGroup{"g"}).state == "Empty");
  left = driver.call<LeaveGroupResult>(LeaveGroup{"missing", {{"a", {}, {}}}});
  CHECK(left.error == Code::kNone);
  CHECK(left.members.at(0).error == Code::kUnknownMemberId);
  CHECK(driver.call<LeaveGroupResult>(LeaveGroup{"", {}}).error == Code::kInvalidGroupId);
}

TEST_CASE("a member that leaves lets the waiting rebalance end") {
  GroupDriver driver;
  const std::string first = stable_member(driver, "g");
  const uint64_t joining = driver.send(join("g"));
  CHECK_FALSE(driver.answered(joining));
  driver.send(LeaveGroup{"g", {{first, {}, {}}}});
  CHECK(driver.answer<JoinGroupResult>(joining).members.size() == 1);
}

TEST_CASE("after a restart members go on where they were") {
  GroupDriver driver;
  const std::string member = stable_member(driver, "g");
  driver.restart();
  CHECK(driver.call<HeartbeatResult>(Heartbeat{"g", member, {}, 1}).error == Code::kNone);
  CHECK(text(driver.call<SyncGroupResult>(sync("g", member, 1)).assignment) == "all");
  const auto group = driver.call<DescribeGroupResult>(DescribeGroup{"g"});
  CHECK(group.state == "Stable");
  CHECK(group.protocol == "range");
  CHECK(text(group.members.at(0).metadata) == "metadata");
  driver.advance(10'000);
  CHECK(driver.call<DescribeGroupResult>(DescribeGroup{"g"}).state == "Empty");
}

TEST_CASE("a group larger than a lowered group.max.size rebalances when it is loaded") {
  GroupSettings settings;
  settings.max_size = 0;
  GroupCoordinator machine(settings, [] { return Uuid::from_random(1, 2); });
  StoredGroup stored{"consumer", 4, "range", "m", 1, {{"m", {}, "c", "/h", 60'000, 10'000, {}, {}}}};
  machine.replay(GroupMetadataRecord{"g", stored}, 0);
  machine.loaded(1, 0);
  machine.for_each_group([](const std::string&, const GroupOffsets&, const ClassicGroup& group) {
    CHECK(group.state == GroupState::kPreparingRebalance);
  });
}

}  // namespace
}  // namespace millrace::coordinator
