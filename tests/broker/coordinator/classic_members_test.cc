// Classic members of consumer groups (KIP-1099): when they rejoin, and when they needn't.
#include <catch2/catch.hpp>

#include "tests/broker/coordinator/consumer_member.h"

namespace millrace::coordinator {
namespace {

using Owned = std::map<std::string, std::vector<int32_t>>;

// Heartbeats until they are quiet; a member that is told to rejoin without end fails.
void settle(Member& member, ClassicClient& classic) {
  for (int i = 0; i < 6; ++i) {
    member.beat();
    classic.beat();
  }
  REQUIRE(classic.beat() == ErrorCode::kNone);
  classic.rejoins = 0;
}

// A static member of the consumer protocol and a classic one share the four partitions of "t".
struct MixedGroup {
  explicit MixedGroup(GroupDriver& driver) : modern{driver, "m", "instance"}, classic{driver} {
    driver.set_topic("t", 4);
    modern.join();
    classic.join();
    settle(modern, classic);
  }
  Member modern;
  ClassicClient classic;
};

int quiet_beats(ClassicClient& classic, int of) {
  int quiet = 0;
  for (int i = 0; i < of; ++i) quiet += classic.beat() == ErrorCode::kNone;
  return quiet;
}

}  // namespace

TEST_CASE("a classic member rejoins once for a topic's partitions, and not for a restart") {
  GroupSettings settings;
  bool goes = false;
  SECTION("the only member of the consumer protocol is away") {}
  SECTION("there is none, and the group may not become a classic one") {
    settings.consumer_migration_policy = MigrationPolicy::kUpgrade;
    goes = true;
  }
  SECTION("there is none, and the group is too large for a classic one") {
    settings.max_size = 0;
    goes = true;
  }
  GroupDriver driver(settings);
  MixedGroup group{driver};
  auto& [modern, classic] = group;
  CHECK(modern.leave(goes ? kLeavingEpoch : kStaticLeavingEpoch) == ErrorCode::kNone);
  quiet_beats(classic, 3);
  classic.rejoins = 0;

  driver.restart();
  CHECK(quiet_beats(classic, 10) == 10);
  driver.set_topic("t", 6);
  CHECK(quiet_beats(classic, 10) == 9);
  CHECK(classic.owned["t"].size() == (goes ? 6 : 3));
  driver.restart();
  CHECK(quiet_beats(classic, 10) == 10);
  CHECK(classic.rejoins == 1);
}

TEST_CASE("what can't be written of new partitions is looked at again") {
  GroupDriver driver;
  MixedGroup group{driver};
  auto& [modern, classic] = group;
  driver.set_topic("t", 6);
  driver.append_error = ErrorCode::kNotEnoughReplicas;
  CHECK(modern.beat().error.code == ErrorCode::kCoordinatorNotAvailable);
  driver.append_error.reset();
  CHECK(classic.beat() == ErrorCode::kRebalanceInProgress);
  for (int i = 0; i < 6; ++i) {
    modern.beat();
    classic.beat();
  }
  CHECK(classic.owned["t"].size() == 3);
  CHECK(modern.partitions() == 3);
}

TEST_CASE(
    "who waits in a classic group hears of an upgrade once it is written, and waits on if it can't be") {
  GroupDriver driver;
  driver.set_topic("t", 4);
  ClassicClient a{driver}, b{driver};
  const uint64_t joins[] = {a.send_join(), b.send_join()};
  driver.advance(6'000);
  a.joined(joins[0]);
  b.joined(joins[1]);
  const bool a_leads = driver.answer<JoinGroupResult>(joins[0]).leader == a.id;
  ClassicClient& leader = a_leads ? a : b;
  const ClassicClient& follower = a_leads ? b : a;
  const auto beat = [&] {
    return driver.call<HeartbeatResult>(Heartbeat{"g", leader.id, {}, leader.generation}).error;
  };
  const uint64_t waits = driver.send(SyncGroup{"g", follower.id, {}, follower.generation, {}, {}, {}});
  for (int i = 0; i < 3; ++i) {
    driver.advance(5'000);
    CHECK(beat() == ErrorCode::kNone);
  }
  Member modern{driver, "m"};
  SECTION("written") {
    driver.auto_commit = false;
    ConsumerHeartbeat joining{.group = "g", .member = "m", .topics = Names{"t"}};
    joining.rebalance_timeout_ms = 60'000;
    joining.owned.emplace();
    const uint64_t upgrade = driver.send(joining);
    CHECK_FALSE(driver.answered(waits));
    driver.commit();
    CHECK(driver.answer<SyncGroupResult>(waits).error == ErrorCode::kRebalanceInProgress);
    CHECK(driver.answer<ConsumerHeartbeatResult>(upgrade).error.code == ErrorCode::kNone);
  }
  SECTION("not written") {
    driver.append_error = ErrorCode::kNotEnoughReplicas;
    CHECK(modern.join().error.code == ErrorCode::kCoordinatorNotAvailable);
    driver.append_error.reset();
    CHECK_FALSE(driver.answered(waits));
    CHECK(leader.sync({{"t", {0, 1, 2, 3}}}) == ErrorCode::kNone);
    CHECK(driver.answered(waits));
    // The follower is never heard of again: its session ends.
    for (int i = 0; i < 2; ++i) {
      driver.advance(5'000);
      beat();
    }
    CHECK(beat() == ErrorCode::kRebalanceInProgress);
    CHECK(driver.call<DescribeGroupResult>(DescribeGroup{"g"}).members.size() == 1);
  }
}

TEST_CASE("a classic member doesn't rejoin for a topic that another's expression doesn't stand for") {
  GroupDriver driver;
  driver.set_topic("t", 4);
  Member modern{driver, "m"};
  modern.join({}, "z.*");
  ClassicClient classic{driver};
  classic.join();
  settle(modern, classic);
  for (const char* name : {"u", "v", "w"}) {
    driver.set_topic(name, 1);
    CHECK(quiet_beats(classic, 3) == 3);
  }
  driver.set_topic("zebra", 1);
  CHECK(quiet_beats(classic, 3) < 3);
}

}  // namespace millrace::coordinator
