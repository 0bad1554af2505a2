// Groups of the consumer protocol (KIP-848), one step at a time.
#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>

#include "tests/broker/coordinator/consumer_member.h"

namespace millrace::coordinator {
namespace {

std::string state(GroupDriver& driver) {
  return driver.call<DescribeConsumerGroupResult>(DescribeConsumerGroup{"g"}).state;
}

ErrorCode commit_at(GroupDriver& driver, std::string_view member, int32_t epoch, const Uuid& topic,
                    int32_t partition) {
  OffsetCommit request = commit("g", "t", partition, 5);
  request.topics[0].id = topic;
  request.member = member;
  request.generation = epoch;
  request.reports_missing_group = true;
  return driver.call<OffsetCommitResult>(request).errors.at(0);
}

}  // namespace

TEST_CASE("a member joins, gets everything, and leaves") {
  GroupDriver driver;
  const Uuid topic = driver.set_topic("t", 3);
  Member a{driver, "a"};
  const auto joined = a.join();
  CHECK(joined.error.code == ErrorCode::kNone);
  CHECK(joined.member == "a");
  CHECK(joined.epoch == 1);
  CHECK(joined.assignment == Assignment{{topic, {0, 1, 2}}});
  CHECK(state(driver) == "Stable");
  CHECK_FALSE(a.beat_briefly().assignment);
  CHECK(a.leave() == ErrorCode::kNone);
  CHECK(state(driver) == "Empty");
  CHECK(a.beat().error.code == ErrorCode::kUnknownMemberId);
  CHECK(driver.call<DeleteGroupResult>(DeleteGroup{"g"}).error == ErrorCode::kNone);
  CHECK(driver.machine().group_count() == 0);
}

TEST_CASE("what a group has configured holds from each member's next heartbeat, and after a restart") {
  GroupDriver driver;
  driver.set_topic("t", 3);
  Member a{driver, "a"}, b{driver, "b"};
  a.join();
  b.join();
  settle({&a, &b});
  driver.advance(10'000);
  driver.set_config("g", metadata::GroupConfig{60'000, 7'000});
  driver.set_config("another", metadata::GroupConfig{1, 1});
  CHECK(a.beat().heartbeat_interval_ms == 7'000);
  // b has sent none since: its session is as long as it was.
  driver.advance(35'000);
  CHECK(b.beat().error.code == ErrorCode::kUnknownMemberId);
  driver.advance(24'999);
  CHECK(a.beat().error.code == ErrorCode::kNone);
  driver.restart();
  driver.advance(59'999);
  CHECK(a.beat().error.code == ErrorCode::kNone);
  driver.set_config("g", std::nullopt);
  CHECK(a.beat().heartbeat_interval_ms == 5'000);
  driver.advance(45'000);
  CHECK(a.beat().error.code == ErrorCode::kUnknownMemberId);
}

TEST_CASE("members heartbeat more often while their group changes") {
  GroupDriver driver;
  driver.set_topic("t", 3);
  Member a{driver, "a"};
  CHECK(a.join().heartbeat_interval_ms == 500);
  CHECK(a.beat_briefly().heartbeat_interval_ms == 500);
  driver.advance(4'999);
  CHECK(a.beat_briefly().heartbeat_interval_ms == 500);
  driver.advance(1);
  CHECK(a.beat_briefly().heartbeat_interval_ms == 5'000);
  Member b{driver, "b"};
  CHECK(b.join().heartbeat_interval_ms == 500);
  CHECK(a.beat_briefly().heartbeat_interval_ms == 500);
}

TEST_CASE("the members of a large group heartbeat no more than a thousand times a second") {
  GroupDriver driver;
  driver.set_topic("t", 3);
  for (int i = 0; i < 700; ++i) {
    const std::string id = "member-" + std::to_string(i);
    Member member{driver, id};
    CHECK(member.join().heartbeat_interval_ms == std::max(500, i));
  }
}

TEST_CASE("partitions go to another member only once they are given up") {
  GroupDriver driver;
  const Uuid topic = driver.set_topic("t", 4);
  Member a{driver, "a"};
  Member b{driver, "b"};
  a.join();
  const auto joined = b.join();
  CHECK(joined.epoch == 2);
  CHECK(joined.assignment == Assignment{});
  // a is told to give up two, and nobody gets them until it has.
  const Assignment before = a.owned;
  CHECK(a.beat().assignment == Assignment{{topic, {0, 1}}});
  CHECK(a.epoch == 1);
  CHECK_FALSE(b.beat().assignment);
  a.owned = before;
  CHECK_FALSE(a.beat().assignment);
  CHECK_FALSE(b.beat().assignment);
  CHECK(state(driver) == "Reconciling");
  a.owned = {{topic, {0, 1}}};
  a.beat();
  CHECK(a.epoch == 2);
  CHECK(b.beat().assignment == Assignment{{topic, {2, 3}}});
  settle({&a, &b});
  CHECK(state(driver) == "Stable");
}

TEST_CASE("who doesn't give up its partitions in time is out") {
  GroupDriver driver;
  driver.set_topic("t", 4);
  Member a{driver, "a"};
  Member b{driver, "b"};
  a.join();
  b.join();
  a.beat();
  for (int i = 0; i < 7; ++i) {
    driver.advance(10'000);
    b.beat();
    a.beat_briefly();
  }
  CHECK(b.partitions() == 4);
  CHECK(a.beat().error.code == ErrorCode::kUnknownMemberId);
}

TEST_CASE("a member that falls silent is out when its session ends") {
  GroupDriver driver;
  driver.set_topic("t", 4);
  Member a{driver, "a"};
  Member b{driver, "b"};
  a.join();
  b.join();
  settle({&a, &b});
  driver.advance(30'000);
  b.beat();
  driver.advance(30'000);
  settle({&b});
  CHECK(b.partitions() == 4);
}

TEST_CASE("stale epochs are fenced, a lost answer is not") {
  GroupDriver driver;
  const Uuid topic = driver.set_topic("t", 2);
  Member a{driver, "a"};
  a.join();
  driver.set_topic("t", 3);
  Member lost = a;
  CHECK(a.beat().epoch == 2);
  CHECK(lost.beat().error.code == ErrorCode::kNone);  // owns a part of what it shall own
  CHECK(lost.epoch == 2);
  Member old{driver, "a", {}, 1, {{topic, {0, 7}}}};
  CHECK(old.beat().error.code == ErrorCode::kFencedMemberEpoch);
  Member ahead{driver, "a", {}, 9, {}};
  const auto refused = ahead.beat();
  CHECK(refused.error.code == ErrorCode::kFencedMemberEpoch);
  CHECK(
      refused.error.message ==
      "The consumer group member has a greater member epoch (9) than the one known by the group coordinator "
      "(2). The member must abandon all its partitions and rejoin.");
}

TEST_CASE("requests that make no sense are refused") {
  GroupDriver driver;
  const auto error = [&](auto change) {
    ConsumerHeartbeat request{.group = "g",
                              .member = "m",
                              .rebalance_timeout_ms = 1000,
                              .topics = Names{"t"},
                              .owned = Assignment{}};
    change(request);
    return driver.call<ConsumerHeartbeatResult>(request).error.code;
  };
  CHECK(error([](auto& r) { r.group = ""; }) == ErrorCode::kInvalidRequest);
  CHECK(error([](auto& r) { r.member = " "; }) == ErrorCode::kInvalidRequest);
  CHECK(error([](auto& r) { r.instance = ""; }) == ErrorCode::kInvalidRequest);
  CHECK(error([](auto& r) { r.rack = ""; }) == ErrorCode::kInvalidRequest);
  CHECK(error([](auto& r) { r.rebalance_timeout_ms = -1; }) == ErrorCode::kInvalidRequest);
  CHECK(error([](auto& r) { r.owned.reset(); }) == ErrorCode::kInvalidRequest);
  CHECK(error([](auto& r) { r.topics.reset(); }) == ErrorCode::kInvalidRequest);
  CHECK(error([](auto& r) { r.epoch = -3; }) == ErrorCode::kInvalidRequest);
  CHECK(error([](auto& r) { r.epoch = -2; }) == ErrorCode::kInvalidRequest);
  CHECK(error([](auto& r) { r.assignor = "best"; }) == ErrorCode::kUnsupportedAssignor);
  CHECK(error([](auto& r) { r.regex = "(t"; }) == ErrorCode::kInvalidRegularExpression);
  const std::string endless(40'000, 'm');
  CHECK(error([&](auto& r) { r.member = endless; }) == ErrorCode::kInvalidRequest);
  CHECK(error([](auto& r) { r.epoch = 1; }) == ErrorCode::kGroupIdNotFound);
  CHECK(error([](auto& r) { r.epoch = -1; }) == ErrorCode::kGroupIdNotFound);
  CHECK(driver.machine().group_count() == 0);
  CHECK(driver.log().empty());
}

TEST_CASE("a group has no more members than it may") {
  GroupSettings settings;
  settings.consumer_max_size = 1;
  GroupDriver driver(settings);
  driver.set_topic("t", 1);
  Member a{driver, "a"};
  Member b{driver, "b"};
  CHECK(a.join().error.code == ErrorCode::kNone);
  CHECK(b.join().error.code == ErrorCode::kGroupMaxSizeReached);
  CHECK(a.join().error.code == ErrorCode::kNone);
}

TEST_CASE("topics that come, grow and go change the assignment") {
  GroupDriver driver;
  Member a{driver, "a"};
  CHECK(a.join({"t", "u"}).assignment == Assignment{});
  const Uuid t = driver.set_topic("t", 1);
  CHECK(a.beat().assignment == Assignment{{t, {0}}});
  const Uuid u = driver.set_topic("u", 2);
  CHECK(a.beat().assignment == Assignment{{t, {0}}, {u, {0, 1}}});
  driver.set_topic("t", 0);
  CHECK(a.beat().assignment == Assignment{{u, {0, 1}}});
  driver.set_topic("other", 5);
  CHECK_FALSE(a.beat_briefly().assignment);
}

TEST_CASE("regular expressions stand for whole names, and for topics yet to come") {
  GroupDriver driver;
  const Uuid one = driver.set_topic("order-1", 1);
  driver.set_topic("reorder-1", 1);
  Member a{driver, "a"};
  CHECK(a.join({}, "order-\\d+").assignment == Assignment{{one, {0}}});
  const Uuid two = driver.set_topic("order-2", 1);
  CHECK(a.beat().assignment == Assignment{{one, {0}}, {two, {0}}});
  driver.restart();
  CHECK_FALSE(a.beat_briefly().assignment);
  driver.set_topic("order-1", 0);
  CHECK(a.beat().assignment == Assignment{{two, {0}}});
  a.leave();
  CHECK(driver.log().end() !=
        std::ranges::find(driver.log(), GroupRecord(RegexRecord{"g", "order-\\d+", {}})));
}

TEST_CASE("expressions are resolved once for the same topics") {
  // Says how often it was walked through.
  class Topics final : public TopicDirectory {
   public:
    explicit Topics(int& walks) : walks_(walks) {}
    std::optional<Topic> find(std::string_view name) const override { return all_.find(name); }
    std::optional<Topic> find(const Uuid& id) const override { return all_.find(id); }
    void for_each(const std::function<void(const Topic&)>& fn) const override {
      ++walks_;
      all_.for_each(fn);
    }
    int64_t version() const override { return 2; }

   private:
    int& walks_;
    const TestTopics all_{{{"t1", {Uuid::from_random(1, 1), 1}}, {"t2", {Uuid::from_random(2, 2), 1}}}, 2};
  };
  int walks = 0;
  GroupDriver driver;
  driver.machine().topics_changed(std::make_shared<Topics>(walks), std::nullopt);
  for (int i = 0; i < 20; ++i) {
    const std::string number = std::to_string(i);
    Member member{driver, "m" + number};
    CHECK(member.join({}, "t1|u" + number).error.code == ErrorCode::kNone);
  }
  CHECK(walks == 20);
}

TEST_CASE("an expression is refused that takes too much to match, and so are too many of them") {
  GroupDriver driver;
  driver.set_topic("t", 1);
  Member a{driver, "a"};
  const Error large = a.join({}, "(.*[a-z0-9].*){1000}x").error;
  CHECK(large.code == ErrorCode::kInvalidRegularExpression);
  CHECK(large.message.find("too large") != std::string::npos);
  std::string names = "t";
  for (int i = 0; i < 300; ++i) names += "|team-number-" + std::to_string(i) + "-orders-topic";
  CHECK(a.join({}, names).error.code == ErrorCode::kNone);
  int taken = 0;
  Error refused;
  for (int i = 0; i < 1'000; ++i) {
    const std::string number = std::to_string(i);
    Member member{driver, "m" + number};
    const Error error = member.join({}, "t|u" + number).error;
    error.code == ErrorCode::kNone ? static_cast<void>(++taken) : static_cast<void>(refused = error);
  }
  CHECK(taken == 99);
  CHECK(refused.code == ErrorCode::kInvalidRegularExpression);
  CHECK(refused.message.find("100 different") != std::string::npos);
  // The same as another's is no further one.
  Member same{driver, "same"};
  CHECK(same.join({}, "t|u1").error.code == ErrorCode::kNone);
  // And whoever changes its own from the last one that had it makes no further one either.
  Member first{driver, "m2"};
  CHECK(first.join({}, "another").error.code == ErrorCode::kNone);
}

TEST_CASE("a static member comes back to its partitions") {
  GroupDriver driver;
  driver.set_topic("t", 4);
  Member a{driver, "a", "ia"};
  Member b{driver, "b", "ib"};
  a.join();
  b.join();
  settle({&a, &b});
  const Assignment mine = a.owned;
  Member again{driver, "a2", "ia"};
  CHECK(again.join().error.code == ErrorCode::kUnreleasedInstanceId);
  CHECK(a.leave(kStaticLeavingEpoch) == ErrorCode::kNone);
  CHECK(again.join().assignment == mine);
  CHECK(a.beat().error.code == ErrorCode::kFencedInstanceId);
  settle({&again, &b});
  CHECK(b.epoch == 2);  // has noticed nothing
  CHECK(again.leave(kStaticLeavingEpoch) == ErrorCode::kNone);
  driver.advance(46'000);
  CHECK(again.beat().error.code == ErrorCode::kUnknownMemberId);
}

TEST_CASE("commits and fetches are the members'") {
  GroupDriver driver;
  const Uuid topic = driver.set_topic("t", 2);
  Member a{driver, "a"};
  a.join();
  CHECK(commit_at(driver, "a", 1, topic, 0) == ErrorCode::kNone);
  CHECK(commit_at(driver, "a", 2, topic, 0) == ErrorCode::kStaleMemberEpoch);
  CHECK(commit_at(driver, "b", 1, topic, 0) == ErrorCode::kUnknownMemberId);
  CHECK(commit_at(driver, "", -1, topic, 0) == ErrorCode::kUnknownMemberId);
  driver.set_topic("t", 3);
  a.beat();
  CHECK(commit_at(driver, "a", 1, topic, 0) == ErrorCode::kNone);  // its own since then
  CHECK(commit_at(driver, "a", 1, topic, 2) == ErrorCode::kStaleMemberEpoch);
  OffsetFetch asked = fetch("g", "t", 0);
  asked.member = "a";
  asked.member_epoch = 2;
  CHECK(driver.call<OffsetFetchResult>(asked).topics.at(0).partitions.at(0).offset == 5);
  asked.member_epoch = 1;
  CHECK(driver.call<OffsetFetchResult>(asked).error == ErrorCode::kStaleMemberEpoch);
  CHECK(driver.call<DeleteGroupResult>(DeleteGroup{"g"}).error == ErrorCode::kNonEmptyGroup);
  CHECK(
      driver.call<OffsetDeleteResult>(OffsetDelete{"g", {{"t", {0}}}}).topics.at(0).partitions.at(0).second ==
      ErrorCode::kGroupSubscribedToTopic);
  a.leave();
  CHECK(commit_at(driver, "", -1, topic, 0) == ErrorCode::kNone);
}

TEST_CASE("a restart loses no member that still heartbeats") {
  GroupDriver driver;
  driver.set_topic("t", 4);
  Member a{driver, "a"};
  Member b{driver, "b"};
  a.join();
  b.join();
  settle({&a, &b});
  const int32_t epoch = a.epoch;
  driver.restart();
  settle({&a, &b});
  CHECK(a.epoch == epoch);
  CHECK(state(driver) == "Stable");
  driver.advance(46'000);
  CHECK(state(driver) == "Empty");
}

TEST_CASE("a member whose removal can't be written is tried again") {
  GroupDriver driver;
  driver.set_topic("t", 1);
  Member a{driver, "a"};
  a.join();
  driver.append_error = ErrorCode::kNotEnoughReplicas;
  driver.advance(46'000);
  CHECK(state(driver) == "Stable");
  driver.append_error.reset();
  driver.advance(2'000);
  CHECK(state(driver) == "Empty");
}

TEST_CASE("a member whose removal doesn't fit into the log is tried again less and less often") {
  GroupDriver driver;
  driver.set_topic("t", 1);
  Member a{driver, "a"};
  a.join();
  driver.append_error = ErrorCode::kMessageTooLarge;
  const size_t before = driver.writes;
  driver.advance(45'000 + 600'000);
  CHECK(state(driver) == "Stable");
  CHECK(driver.writes - before < 20);
  CHECK(driver.writes - before > 10);
  driver.append_error.reset();
  driver.advance(60'000);
  CHECK(state(driver) == "Empty");
}

TEST_CASE("a group that is too large to be a classic one stays a consumer group, and who goes goes") {
  GroupDriver driver;
  const Uuid topic = driver.set_topic("t", 4);
  Member a{driver, "a"};
  a.join();
  Buffer subscription(2);  // version 0
  for (const char c : {'\0', '\0', '\0', '\1', '\0', '\1', 't', '\0', '\0', '\0', '\0'})
    subscription.push_back(static_cast<std::byte>(c));
  JoinGroup request;
  request.group = "g";
  request.protocol_type = "consumer";
  request.protocols = {{"range", subscription}};
  request.session_timeout_ms = 600'000;
  request.rebalance_timeout_ms = 600'000;
  const auto joined = driver.call<JoinGroupResult>(request);
  REQUIRE(joined.error == ErrorCode::kNone);
  driver.classic_error = ErrorCode::kMessageTooLarge;
  SECTION("it leaves") { CHECK(a.leave() == ErrorCode::kNone); }
  SECTION("its session ends") { driver.advance(46'000); }
  request.member = joined.member;
  CHECK(driver.call<JoinGroupResult>(request).error == ErrorCode::kNone);
  const auto group = driver.call<DescribeConsumerGroupResult>(DescribeConsumerGroup{"g"});
  REQUIRE(group.members.size() == 1);
  CHECK(group.members[0].member == joined.member);
  REQUIRE(group.members[0].target.size() == 1);
  CHECK(group.members[0].target[0].id == topic);
  CHECK(group.members[0].target[0].partitions.size() == 4);
}

TEST_CASE("each protocol's API says that the group is of the other") {
  GroupDriver driver;
  driver.set_topic("t", 1);
  Member a{driver, "a"};
  a.join();
  const auto classic = driver.call<DescribeGroupResult>(DescribeGroup{"g"});
  CHECK(classic.error == ErrorCode::kGroupIdNotFound);
  CHECK(classic.message == "Group g is not a classic group.");
  driver.send(join("h"));
  const auto consumer = driver.call<DescribeConsumerGroupResult>(DescribeConsumerGroup{"h"});
  CHECK(consumer.error.message == "Group h is not a consumer group.");
  const auto listed = driver.call<ListGroupsResult>(ListGroups{{"stable"}, {"consumer"}});
  REQUIRE(listed.groups.size() == 1);
  CHECK(listed.groups[0].type == "consumer");
}

}  // namespace millrace::coordinator
