#include "broker/runtime/timer_queue.h"

#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <memory>

#include "broker/runtime/random.h"

using namespace millrace::runtime;

namespace {

struct TestTimer final : Timer {
  std::function<void()> action;
  void expired() override { action(); }
};

}  // namespace

TEST_CASE("timers fire in order of their deadlines, whatever is armed and disarmed", "[timer_queue]") {
  Random random(GENERATE(1, 2, 3));
  TimerQueue queue([](int64_t) {});
  std::vector<std::unique_ptr<TestTimer>> timers(200);
  std::map<int, int64_t> expected;  // a model: armed timers and their deadlines
  std::vector<int64_t> fired;
  for (int i = 0; i < 200; ++i) {
    timers[i] = std::make_unique<TestTimer>();
    timers[i]->action = [&, i] {
      REQUIRE(expected.count(i) == 1);
      fired.push_back(expected[i]);
      expected.erase(i);
    };
  }
  int64_t now = 0;
  for (int step = 0; step < 5000; ++step) {
    const int i = static_cast<int>(random.below(200));
    switch (random.below(4)) {
      case 0:
        queue.disarm(*timers[i]);
        expected.erase(i);
        break;
      case 1:
        now += static_cast<int64_t>(random.below(20));
        fired.clear();
        queue.fire(now);
        CHECK(std::is_sorted(fired.begin(), fired.end()));
        for (const auto& [timer, deadline] : expected) REQUIRE(deadline > now);
        break;
      default:
        expected[i] = now + 1 + static_cast<int64_t>(random.below(300));
        queue.arm(*timers[i], expected[i]);
    }
    REQUIRE(queue.size() == expected.size());
  }
}

TEST_CASE("a firing timer may disarm, destroy and rearm timers", "[timer_queue]") {
  TimerQueue queue([](int64_t) {});
  auto doomed = std::make_unique<TestTimer>();
  TestTimer disarmed, again, first;
  int rounds = 0;
  first.action = [&] {
    doomed.reset();
    queue.disarm(disarmed);
  };
  doomed = std::make_unique<TestTimer>();
  doomed->action = disarmed.action = [] { FAIL("must not fire"); };
  again.action = [&] {
    if (++rounds < 3) queue.arm(again, 5);  // due already, but not in this round
  };
  queue.arm(first, 1);
  queue.arm(*doomed, 2);
  queue.arm(disarmed, 2);
  queue.arm(again, 3);
  queue.fire(10);
  CHECK(rounds == 1);
  CHECK(queue.size() == 1);
  queue.fire(10);
  queue.fire(10);
  CHECK(rounds == 3);
  CHECK(queue.size() == 0);
}

TEST_CASE("the alarm is set for the earliest deadline", "[timer_queue]") {
  std::vector<int64_t> alarms;
  TimerQueue queue([&](int64_t deadline_ns) { alarms.push_back(deadline_ns); });
  TestTimer early, late, never;
  early.action = late.action = [] {};
  queue.arm(late, 100);
  queue.arm(early, 50);
  queue.arm(never, kNever);
  CHECK(alarms == std::vector<int64_t>{100, 50});
  CHECK_FALSE(never.armed());
  queue.fire(50);
  CHECK(alarms.back() == 100);
}

TEST_CASE("deadlines far ahead don't overflow", "[clock]") {
  const ManualClock clock;
  CHECK(clock.deadline_in_ms(1) == clock.monotonic_ns() + kNanosPerMs);
  CHECK(clock.deadline_in_ms(INT64_MAX) == kNever);
  CHECK(clock.deadline_in_ms(-1) == kNever);
}
