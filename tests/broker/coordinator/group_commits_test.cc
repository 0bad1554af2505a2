#include <algorithm>
#include <set>
#include <string>

#include "broker/coordinator/group_record_codec.h"
#include "protocol/writer.h"
#include "tests/broker/coordinator/group_driver.h"

namespace millrace::coordinator {
namespace {

using Code = ErrorCode;

Code code(const OffsetCommitResult& result) { return result.errors.at(0); }

OffsetFetchResult::Partition position(GroupDriver& driver, std::string_view group, std::string_view topic,
                                      int32_t partition) {
  return driver.call<OffsetFetchResult>(fetch(group, topic, partition)).topics.at(0).partitions.at(0);
}

OffsetCommit many_positions(std::string_view group, std::string_view topic, int32_t count) {
  OffsetCommit request{.group = group, .topics = {{topic, {}, {}}}};
  for (int32_t i = 0; i < count; ++i) request.topics[0].partitions.push_back({i, i, -1, {}});
  return request;
}

// The groups that have lost a position to a tombstone.
std::set<std::string> removed(const GroupDriver& driver) {
  std::set<std::string> groups;
  for (const GroupRecord& record : driver.log()) {
    const auto* commit = std::get_if<OffsetCommitRecord>(&record);
    if (commit != nullptr && !commit->value) groups.insert(commit->group);
  }
  return groups;
}

TEST_CASE("a simple consumer commits without a group, and reads it back") {
  GroupDriver driver;
  OffsetCommit request = commit("g", "t", 3, 42);
  request.topics[0].partitions[0].leader_epoch = 7;
  CHECK(code(driver.call<OffsetCommitResult>(request)) == Code::kNone);
  const auto at = position(driver, "g", "t", 3);
  CHECK(at.offset == 42);
  CHECK(at.leader_epoch == 7);
  CHECK(at.metadata == "note");
  CHECK(position(driver, "g", "t", 4).offset == -1);
  CHECK(position(driver, "other", "t", 3).offset == -1);
  CHECK(position(driver, "other", "t", 3).error == Code::kNone);
  const auto group = driver.call<DescribeGroupResult>(DescribeGroup{"g"});
  CHECK(group.state == "Empty");
  CHECK(group.protocol_type.empty());
}

TEST_CASE("a commit is answered, and read, only once it is committed to the log") {
  GroupDriver driver;
  driver.auto_commit = false;
  const uint64_t committing = driver.send(commit("g", "t", 0, 5));
  const uint64_t reading = driver.send(fetch("g", "t", 0));
  const uint64_t other = driver.send(fetch("h", "t", 0));
  CHECK_FALSE(driver.answered(committing));
  CHECK_FALSE(driver.answered(reading));
  CHECK(driver.answered(other));
  driver.commit();
  CHECK(code(driver.answer<OffsetCommitResult>(committing)) == Code::kNone);
  CHECK(driver.answer<OffsetFetchResult>(reading).topics[0].partitions[0].offset == 5);
}

TEST_CASE("a commit that the log refuses is answered with the group's error and changes nothing") {
  GroupDriver driver;
  driver.append_error =
      GENERATE(Code::kNotEnoughReplicas, Code::kNotLeaderOrFollower, Code::kMessageTooLarge);
  const Code expected = *driver.append_error == Code::kNotEnoughReplicas     ? Code::kCoordinatorNotAvailable
                        : *driver.append_error == Code::kNotLeaderOrFollower ? Code::kNotCoordinator
                                                                             : Code::kInvalidCommitOffsetSize;
  CHECK(code(driver.call<OffsetCommitResult>(commit("g", "t", 0, 5))) == expected);
  driver.append_error.reset();
  CHECK(position(driver, "g", "t", 0).offset == -1);
}

TEST_CASE("oversized metadata is refused, its neighbours are not") {
  GroupDriver driver;
  const std::string large(4'097, 'x');
  OffsetCommit request = commit("g", "t", 0, 1);
  request.topics[0].partitions.push_back({1, 2, -1, large});
  request.topics[0].partitions.push_back({2, 3, -1, std::nullopt});
  const auto result = driver.call<OffsetCommitResult>(request);
  CHECK(result.errors == std::vector{Code::kNone, Code::kOffsetMetadataTooLarge, Code::kNone});
  CHECK(position(driver, "g", "t", 1).offset == -1);
  CHECK(position(driver, "g", "t", 2).offset == 3);
  CHECK(position(driver, "g", "t", 2).metadata.empty());
}

TEST_CASE("commits to a group that doesn't exist are refused by version, unless they are simple") {
  GroupDriver driver;
  OffsetCommit request = commit("g", "t", 0, 1);
  request.generation = 0;
  CHECK(code(driver.call<OffsetCommitResult>(request)) == Code::kIllegalGeneration);
  request.reports_missing_group = true;
  CHECK(code(driver.call<OffsetCommitResult>(request)) == Code::kGroupIdNotFound);
}

TEST_CASE("a group with members takes commits of its members and generation only") {
  GroupDriver driver;
  const uint64_t joining = driver.send(join("g"));
  driver.advance(3'000);
  const auto joined = driver.answer<JoinGroupResult>(joining);
  OffsetCommit request = commit("g", "t", 0, 1);
  request.member = joined.member;
  request.generation = 1;
  CHECK(code(driver.call<OffsetCommitResult>(request)) == Code::kRebalanceInProgress);
  driver.send(SyncGroup{"g", joined.member, {}, 1, {}, {}, {}});
  CHECK(code(driver.call<OffsetCommitResult>(request)) == Code::kNone);
  CHECK(code(driver.call<OffsetCommitResult>(commit("g", "t", 0, 1))) == Code::kUnknownMemberId);
  request.generation = 2;
  CHECK(code(driver.call<OffsetCommitResult>(request)) == Code::kIllegalGeneration);
  request.generation = 1;
  request.member = "nobody";
  CHECK(code(driver.call<OffsetCommitResult>(request)) == Code::kUnknownMemberId);
  // Members may commit what they have done while the others rejoin, and that keeps their session.
  request.member = joined.member;
  driver.send(join("g"));
  driver.advance(9'000);
  CHECK(code(driver.call<OffsetCommitResult>(request)) == Code::kNone);
  driver.advance(9'000);
  CHECK(driver.call<HeartbeatResult>(Heartbeat{"g", joined.member, {}, 1}).error ==
        Code::kRebalanceInProgress);
}

TEST_CASE("fetching all positions, by topic id and by name") {
  GroupDriver driver;
  const Uuid id = driver.set_topic("b", 2);
  OffsetCommit request = commit("g", "b", 1, 10);
  request.topics[0].id = id;
  driver.send(request);
  driver.send(commit("g", "a", 0, 20));
  OffsetFetch all;
  all.group = "g";
  const auto result = driver.call<OffsetFetchResult>(all);
  REQUIRE(result.topics.size() == 2);
  CHECK(result.topics[0].name == "a");
  CHECK(result.topics[1].partitions.at(0).offset == 10);
  OffsetFetch by_id = fetch("g", "b", 1);
  by_id.topics->at(0).id = id;
  CHECK(driver.call<OffsetFetchResult>(by_id).topics[0].partitions[0].offset == 10);
  by_id.topics->at(0).id = Uuid::from_random(3, 4);
  CHECK(driver.call<OffsetFetchResult>(by_id).topics[0].partitions[0].offset == -1);
  all.group = "missing";
  CHECK(driver.call<OffsetFetchResult>(all).topics.empty());
}

TEST_CASE("positions are deleted one by one, unless a member reads the topic") {
  GroupDriver driver;
  driver.send(commit("g", "t", 0, 5));
  auto result = driver.call<OffsetDeleteResult>(OffsetDelete{"g", {{"t", {0, 1}}}});
  CHECK(result.error == Code::kNone);
  CHECK(result.topics.at(0).partitions.at(1).second == Code::kNone);
  CHECK(position(driver, "g", "t", 0).offset == -1);
  CHECK(driver.call<OffsetDeleteResult>(OffsetDelete{"missing", {}}).error == Code::kGroupIdNotFound);
  CHECK(driver.call<OffsetDeleteResult>(OffsetDelete{"", {}}).error == Code::kInvalidGroupId);

  JoinGroup request = join("g");
  const std::string subscription("\0\1\0\0\0\1\0\1t\xff\xff\xff\xff", 13);
  request.protocols = {{"range", bytes(subscription)}};
  const uint64_t joining = driver.send(request);
  driver.advance(3'000);
  REQUIRE(driver.answered(joining));
  result = driver.call<OffsetDeleteResult>(OffsetDelete{"g", {{"t", {0}}, {"other", {0}}}});
  CHECK(result.topics.at(0).partitions.at(0).second == Code::kGroupSubscribedToTopic);
  CHECK(result.topics.at(1).partitions.at(0).second == Code::kNone);

  request = join("connect-group");
  request.protocol_type = "connect";
  driver.send(request);
  CHECK(driver.call<OffsetDeleteResult>(OffsetDelete{"connect-group", {}}).error == Code::kNonEmptyGroup);
}

TEST_CASE("deleting a group removes its positions; one with members stays") {
  GroupDriver driver;
  driver.send(commit("g", "t", 0, 5));
  CHECK(driver.call<DeleteGroupResult>(DeleteGroup{"g"}).error == Code::kNone);
  CHECK(driver.call<DeleteGroupResult>(DeleteGroup{"g"}).error == Code::kGroupIdNotFound);
  CHECK(position(driver, "g", "t", 0).offset == -1);
  CHECK(driver.machine().group_count() == 0);
  driver.send(join("g"));
  CHECK(driver.call<DeleteGroupResult>(DeleteGroup{"g"}).error == Code::kNonEmptyGroup);
}

TEST_CASE("a large group is deleted in several batches and answered after the last") {
  GroupDriver driver;
  driver.send(many_positions("g", "topic", 10'000));
  driver.auto_commit = false;
  Effects effects = driver.machine().handle(9'999, DeleteGroup{"g"}, driver.now_ms);
  CHECK(effects.writes.size() > 1);
  CHECK(effects.answers.empty());
  driver.take(std::move(effects));
  CHECK_FALSE(driver.answered(9'999));
  driver.commit();
  CHECK(driver.answer<DeleteGroupResult>(9'999).error == Code::kNone);
  CHECK(driver.machine().group_count() == 0);
}

TEST_CASE(
    "a group whose positions can't all be removed is not said to be deleted, and can be deleted again") {
  GroupDriver driver;
  driver.send(many_positions("g", "topic", 10'000));
  Effects effects = driver.machine().handle(++driver.tickets, DeleteGroup{"g"}, driver.now_ms);
  REQUIRE(effects.writes.size() > 1);
  Effects first;
  first.writes.push_back(std::move(effects.writes.front()));
  effects.writes.erase(effects.writes.begin());
  driver.append_error = Code::kNotEnoughReplicas;
  driver.take(std::move(first));
  driver.append_error.reset();
  CHECK_FALSE(driver.answered(driver.tickets));
  driver.take(std::move(effects));
  CHECK(driver.answer<DeleteGroupResult>(driver.tickets).error == Code::kCoordinatorNotAvailable);
  CHECK(position(driver, "g", "topic", 0).offset == 0);
  CHECK(driver.call<DeleteGroupResult>(DeleteGroup{"g"}).error == Code::kNone);
  CHECK(driver.machine().group_count() == 0);
}

TEST_CASE("more positions than one batch takes are deleted") {
  GroupDriver driver;
  const std::string topic(241, 't');
  driver.send(many_positions("g", topic, 4'400));
  OffsetDelete request{"g", {{topic, {}}}};
  for (int32_t i = 0; i < 4'400; ++i) request.topics[0].partitions.push_back(i);
  const size_t before = driver.writes;
  size_t records = 0;
  Effects effects = driver.machine().handle(++driver.tickets, request, driver.now_ms);
  for (const Write& write : effects.writes) {
    protocol::Writer batch;
    for (const GroupRecord& record : write.records) REQUIRE(encode_record(record, batch));
    CHECK(batch.take().size() < 512 * 1024);
    records += write.records.size();
  }
  driver.take(std::move(effects));
  CHECK(driver.writes - before > 1);
  CHECK(records == 4'400);
  CHECK(driver.answer<OffsetDeleteResult>(driver.tickets).error == Code::kNone);
  CHECK(driver.machine().progress("g")->position_count() == 0);
}

TEST_CASE("positions expire with offsets.retention.minutes, of simple consumers by their last commit") {
  GroupSettings settings;
  settings.offsets_retention_ms = 3'600'000;
  GroupDriver driver(settings);
  driver.send(commit("g", "t", 0, 5));
  driver.advance(1'800'000);
  driver.send(commit("g", "t", 1, 6));
  driver.advance(1'800'000);
  CHECK(position(driver, "g", "t", 0).offset == -1);
  CHECK(position(driver, "g", "t", 1).offset == 6);
  driver.advance(1'800'000);
  CHECK(driver.machine().group_count() == 0);
  CHECK_FALSE(std::get<GroupMetadataRecord>(driver.log().back()).value);
}

TEST_CASE("positions of a group with members stay, and expire counted from when it became empty") {
  GroupSettings settings;
  settings.offsets_retention_ms = 3'600'000;
  GroupDriver driver(settings);
  JoinGroup request = join("g");
  const std::string subscription("\0\1\0\0\0\1\0\1t\xff\xff\xff\xff", 13);
  request.protocols = {{"range", bytes(subscription)}};
  request.session_timeout_ms = 1'800'000;
  const uint64_t joining = driver.send(request);
  driver.advance(3'000);
  const auto joined = driver.answer<JoinGroupResult>(joining);
  driver.send(SyncGroup{"g", joined.member, {}, 1, {}, {}, {}});
  OffsetCommit subscribed = commit("g", "t", 0, 5);
  subscribed.member = joined.member;
  subscribed.generation = 1;
  driver.send(subscribed);
  subscribed.topics[0].name = "former";
  driver.send(subscribed);
  for (int i = 0; i < 5; ++i) {
    driver.advance(1'000'000);
    driver.send(Heartbeat{"g", joined.member, {}, 1});
  }
  CHECK(position(driver, "g", "t", 0).offset == 5);
  CHECK(position(driver, "g", "former", 0).offset == -1);
  driver.send(LeaveGroup{"g", {{joined.member, {}, {}}}});
  driver.advance(3'000'000);
  CHECK(position(driver, "g", "t", 0).offset == 5);
  driver.advance(1'300'000);
  CHECK(position(driver, "g", "t", 0).offset == -1);
  CHECK(driver.machine().group_count() == 0);
}

TEST_CASE("OffsetCommit v2-4 may ask for its own retention") {
  GroupDriver driver;
  OffsetCommit request = commit("g", "t", 0, 5);
  request.retention_ms = 1'000;
  driver.send(request);
  CHECK(position(driver, "g", "t", 0).offset == 5);
  driver.advance(600'000);
  CHECK(position(driver, "g", "t", 0).offset == -1);
}

TEST_CASE("positions go with their topic, but not those of a topic of the same name and another id") {
  GroupDriver driver;
  const Uuid gone = Uuid::from_random(1, 1);
  const Uuid other = Uuid::from_random(2, 2);
  OffsetCommit request = commit("a", "t", 0, 5);
  request.topics[0].id = gone;
  driver.send(request);
  request.group = "b";
  request.topics[0].id = other;
  driver.send(request);
  driver.send(commit("c", "t", 0, 7));
  driver.take(driver.machine().topic_deleted("t", gone, driver.now_ms));
  driver.advance(0);
  CHECK(removed(driver) == std::set<std::string>{"a", "c"});
}

TEST_CASE("positions of a topic that was deleted before a crash are nobody's, and go with the next start") {
  GroupDriver driver;
  const Uuid former = driver.set_topic("t", 2);
  const Uuid stays = driver.set_topic("stays", 1);
  OffsetCommit request = commit("g", "t", 0, 5);
  request.topics[0].id = former;
  request.topics.push_back({"stays", stays, {{0, 6, -1, {}}}});
  driver.send(request);
  driver.send(commit("old", "t", 1, 7));  // in a format that doesn't know ids
  // The broker ends before it says that the topic is deleted.
  driver.set_topic("t", 0);
  SECTION("the topic stays away") {}
  SECTION("another one has its name") { REQUIRE(driver.set_topic("t", 2) != former); }
  CHECK(position(driver, "g", "t", 0).offset == -1);
  const auto all = driver.call<OffsetFetchResult>(OffsetFetch{.group = "g"});
  REQUIRE(all.topics.size() == 1);
  CHECK(all.topics[0].name == "stays");
  CHECK(driver.machine().progress("g")->position_count() == 1);
  CHECK(removed(driver).empty());
  driver.restart();
  CHECK(position(driver, "g", "t", 0).offset == -1);
  driver.advance(0);
  CHECK(removed(driver) == std::set<std::string>{"g"});
  CHECK(position(driver, "g", "stays", 0).offset == 6);
  CHECK(position(driver, "old", "t", 1).offset == 7);
}

TEST_CASE("a topic with very many positions goes in turns, between which others are served") {
  constexpr int kGroups = 300;
  constexpr int kPartitions = 30;
  GroupDriver driver;
  const Uuid topic = driver.set_topic("t", kPartitions);
  const Uuid stays = driver.set_topic("u", 1);
  for (int i = 0; i < kGroups; ++i) {
    const std::string group = "group-" + std::to_string(i);
    OffsetCommit request{.group = group, .topics = {{"t", topic, {}}, {"u", stays, {{0, 1, -1, {}}}}}};
    for (int p = 0; p < kPartitions; ++p) request.topics[0].partitions.push_back({p, 1, -1, {}});
    driver.send(request);
  }
  driver.set_topic("t", 0);
  CHECK(driver.machine().topic_deleted("t", topic, driver.now_ms).writes.empty());
  const size_t before = driver.log().size();
  size_t turns = 0;
  while (driver.machine().next_deadline() <= driver.now_ms + 1'000) {
    driver.now_ms = std::max(driver.now_ms, *driver.machine().next_deadline());
    Effects effects = driver.machine().expire(driver.now_ms);
    REQUIRE(effects.writes.size() <= 1);
    if (!effects.writes.empty()) CHECK(effects.writes[0].records.size() < 1'000);
    driver.take(std::move(effects));
    ++turns;
  }
  CHECK(turns > 5);
  CHECK(driver.log().size() - before == kGroups * kPartitions);
  CHECK(removed(driver).size() == kGroups);
  CHECK(position(driver, "group-7", "u", 0).offset == 1);
}

TEST_CASE("positions that a full disk kept from going with their topic go later") {
  GroupDriver driver;
  const Uuid former = driver.set_topic("t", 1);
  OffsetCommit request = commit("g", "t", 0, 5);
  request.topics[0].id = former;
  driver.send(request);
  driver.set_topic("t", 0);
  driver.append_error = Code::kKafkaStorageError;
  driver.take(driver.machine().topic_deleted("t", former, driver.now_ms));
  driver.advance(1'000);
  driver.append_error.reset();
  CHECK(removed(driver).empty());
  CHECK(position(driver, "g", "t", 0).offset == -1);
  driver.advance(600'000);
  CHECK(removed(driver) == std::set<std::string>{"g"});
}

TEST_CASE("groups are listed by state and type, in any case") {
  GroupDriver driver;
  driver.send(commit("simple", "t", 0, 5));
  driver.send(join("joining"));
  CHECK(driver.call<ListGroupsResult>(ListGroups{}).groups.size() == 2);
  auto listed = driver.call<ListGroupsResult>(ListGroups{{"preparingREBALANCE"}, {}}).groups;
  REQUIRE(listed.size() == 1);
  CHECK(listed[0].group == "joining");
  CHECK(listed[0].protocol_type == "consumer");
  CHECK(listed[0].state == "PreparingRebalance");
  CHECK(listed[0].type == "classic");
  CHECK(driver.call<ListGroupsResult>(ListGroups{{}, {"Classic"}}).groups.size() == 2);
  CHECK(driver.call<ListGroupsResult>(ListGroups{{}, {"consumer"}}).groups.empty());
  const auto missing = driver.call<DescribeGroupResult>(DescribeGroup{"missing"});
  CHECK(missing.error == Code::kGroupIdNotFound);
  CHECK(missing.state == "Dead");
}

TEST_CASE("group ids are any bytes") {
  GroupDriver driver;
  const std::string id("\xff\0\n\xc3", 4);
  driver.send(commit(id, "t", 0, 9));
  CHECK(position(driver, id, "t", 0).offset == 9);
  driver.restart();
  CHECK(position(driver, id, "t", 0).offset == 9);
  CHECK(position(driver, "", "t", 0).offset == -1);
}

TEST_CASE("whatever waits is answered when the coordinator moves away") {
  GroupDriver driver;
  const uint64_t joining = driver.send(join("g"));
  driver.auto_commit = false;
  const uint64_t committing = driver.send(commit("h", "t", 0, 1));
  const uint64_t reading = driver.send(fetch("h", "t", 0));
  CHECK(driver.machine().open_tickets() == 3);
  driver.restart();
  CHECK(driver.answer<JoinGroupResult>(joining).error == Code::kNotCoordinator);
  CHECK(code(driver.answer<OffsetCommitResult>(committing)) == Code::kNotCoordinator);
  CHECK(driver.answer<OffsetFetchResult>(reading).error == Code::kNotCoordinator);
  CHECK(driver.machine().open_tickets() == 0);
}

}  // namespace
}  // namespace millrace::coordinator
