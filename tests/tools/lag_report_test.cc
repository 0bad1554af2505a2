#include "tools/lag_report.h"

#include <catch2/catch.hpp>

#include "tools/connect.h"

using namespace millrace;
using namespace millrace::tools;
using Kind = CatchUp::Kind;

namespace {

constexpr int64_t kSecondUs = 1'000'000;

PartitionLag lag(int32_t partition, std::optional<int64_t> committed, std::optional<int64_t> end,
                 std::optional<int64_t> oldest_unread_ms = {}) {
  PartitionLag lag;
  lag.place = {"t", partition};
  lag.committed = committed;
  lag.end = end;
  lag.oldest_unread_ms = oldest_unread_ms;
  return lag;
}

LagSample at(int64_t second, std::vector<PartitionLag> partitions) {
  return {second * kSecondUs, second * 1000, std::move(partitions)};
}

LagReport report(std::vector<LagSample> samples) {
  LagHistory history;
  for (LagSample& sample : samples) history.add(std::move(sample));
  return history.report();
}

std::string catch_up(const CatchUp& catch_up) {
  return catch_up.kind == Kind::kUnknown ? "unknown"
         : catch_up.kind == Kind::kNever ? "never"
                                         : std::to_string(catch_up.seconds);
}

}  // namespace

TEST_CASE("one look has lag and age, and no rates") {
  const LagReport seen = report({at(100, {lag(0, 5, 15, 40'000), lag(1, 7, 7)})});
  CHECK(seen.lag == 10);
  CHECK(seen.lag_seconds == 60.0);
  CHECK_FALSE(seen.in_rate);
  CHECK(catch_up(seen.partitions[0].catch_up) == "unknown");
  CHECK(seen.partitions[1].lag_seconds == 0.0);
  CHECK(catch_up(seen.partitions[1].catch_up) == catch_up({Kind::kIn, 0}));
  // One of two isn't known, so neither is when both are done.
  CHECK(catch_up(seen.catch_up.value()) == "unknown");
  CHECK(lag_summary(seen) == "lag 10 records, 1m 0s");
}

TEST_CASE("two looks have rates") {
  const LagReport seen = report({at(0, {lag(0, 100, 1000)}), at(10, {lag(0, 400, 1100)})});
  CHECK(seen.in_rate == 10.0);
  CHECK(seen.out_rate == 30.0);
  CHECK(seen.lag == 700);
  CHECK(catch_up(seen.catch_up.value()) == catch_up({Kind::kIn, 35}));
  CHECK(lag_summary(seen) == "lag 700 records; in 10/s, out 30/s, caught up in 35.0s");
}

TEST_CASE("whoever reads no faster than what comes in never catches up") {
  const LagReport seen =
      report({at(0, {lag(0, 0, 100), lag(1, 0, 10)}), at(10, {lag(0, 50, 150), lag(1, 10, 10)})});
  CHECK(catch_up(seen.partitions[0].catch_up) == "never");
  CHECK(catch_up(seen.partitions[1].catch_up) == catch_up({Kind::kIn, 0}));
  CHECK(catch_up(seen.catch_up.value()) == "never");
  CHECK(lag_summary(seen).ends_with(", not catching up"));
}

TEST_CASE("partitions without a commit have no lag") {
  const LagReport seen = report({at(0, {lag(0, {}, 0), lag(1, 4, 4), lag(2, 9, {})})});
  CHECK(seen.lag == 0);
  CHECK(seen.uncommitted_partitions == 0);
  CHECK_FALSE(seen.partitions[0].lag_seconds);
  CHECK_FALSE(seen.partitions[2].lag.records());
  CHECK(catch_up(seen.catch_up.value()) == catch_up({Kind::kIn, 0}));
  CHECK(lag_summary(seen) == "lag 0 records");
  CHECK(lag_summary(report({at(0, {lag(0, {}, 100)})})) == "nothing committed yet");
}

TEST_CASE("partitions with records but no commit make the lag the least that it can be") {
  SECTION("a zero that may be more isn't known") {
    const LagReport seen = report({at(0, {lag(0, {}, 100), lag(1, 4, 4)})});
    CHECK_FALSE(seen.lag);
    CHECK_FALSE(seen.lag_seconds);
    CHECK(seen.uncommitted_partitions == 1);
    CHECK(catch_up(seen.catch_up.value()) == "unknown");
    CHECK(lag_summary(seen) == "lag at least 0 records; 1 partition with records but no commit");
    const std::string json = lag_json(seen).dump(0);
    CHECK(json.starts_with(R"({"lag":null,"uncommitted_partitions":1,"lag_seconds":null,"in_rate":null,)"
                           R"("out_rate":null,"catch_up_seconds":null,"catches_up":null,)"));
  }
  SECTION("more than that stays") {
    const LagReport seen =
        report({at(90, {lag(0, {}, 90), lag(1, 2, 4), lag(2, {}, 9)}),
                at(100, {lag(0, {}, 100), lag(1, 4, 10, 40'000), lag(2, {}, 9), lag(3, {}, 0)})});
    CHECK(seen.lag == 6);
    CHECK(seen.lag_seconds == 60.0);
    CHECK(seen.uncommitted_partitions == 2);
    // Of what the group has committed in.
    CHECK(seen.in_rate == 0.6);
    CHECK(seen.out_rate == 0.2);
    CHECK(lag_summary(seen) ==
          "lag at least 6 records, 1m 0s; 2 partitions with records but no commit; in 0.6/s, out 0.2/s, "
          "not catching up");
  }
}

TEST_CASE("an age that isn't known is no zero") {
  CHECK_FALSE(report({at(100, {lag(0, 5, 15), lag(1, 7, 7)})}).lag_seconds);
}

TEST_CASE("a group that was moved back has no rate until the move is out of the window") {
  const LagReport seen = report({at(0, {lag(0, 90, 100)}), at(1, {lag(0, 10, 100)})});
  CHECK_FALSE(seen.out_rate);
  CHECK(seen.lag == 90);
  CHECK(catch_up(seen.catch_up.value()) == "unknown");
}

TEST_CASE("after a move back there is a rate again from the second look on") {
  const LagReport seen = report({at(0, {lag(0, 10, 100)}), at(1, {lag(0, 90, 100)}), at(2, {lag(0, 10, 100)}),
                                 at(4, {lag(0, 30, 120)})});
  CHECK(seen.out_rate == 10.0);
  CHECK(seen.in_rate == 10.0);
}

TEST_CASE("rates are of all partitions or of none") {
  // 10/s each; the second commits for the first time after 3 s.
  LagHistory history;
  for (int64_t second = 0; second <= 90; ++second) {
    history.add(at(second, {lag(0, second * 10, second * 10),
                            lag(1, second < 3 ? std::nullopt : std::optional(second * 10), second * 10)}));
    INFO(second);
    const LagReport seen = history.report();
    if (second == 2) CHECK(seen.out_rate == 10.0);
    if (second == 3) {
      CHECK_FALSE(seen.out_rate);
      CHECK_FALSE(seen.in_rate);
      CHECK(seen.partitions[0].out_rate == 10.0);
    }
    if (second > 3) {
      CHECK(seen.out_rate == 20.0);
      CHECK(seen.in_rate == 20.0);
    }
  }
}

TEST_CASE("rates are over the last 30 seconds") {
  LagHistory history;
  // Fast for long, then slow.
  for (int64_t second = 0; second <= 100; ++second)
    history.add(at(second, {lag(0, second * 1000, 1'000'000)}));
  for (int64_t second = 101; second <= 140; ++second)
    history.add(at(second, {lag(0, 100'000 + (second - 100), 1'000'000)}));
  CHECK(history.report().out_rate == 1.0);
  CHECK(history.size() <= 32);
}

TEST_CASE("looks that are far apart still give rates") {
  const LagReport seen =
      report({at(0, {lag(0, 0, 0)}), at(100, {lag(0, 0, 100)}), at(200, {lag(0, 50, 300)})});
  CHECK(seen.in_rate == 2.0);
  CHECK(seen.out_rate == 0.5);
}

TEST_CASE("a clock that is behind the producer's gives no negative age, and none of what is read") {
  CHECK(report({at(100, {lag(0, 5, 15, 200'000)})}).lag_seconds == 0.001);
}

TEST_CASE("the table shows what isn't known as a dash") {
  LagReport seen = report({at(100, {lag(0, {}, 15), lag(1, 5, 15, 40'000)})});
  CHECK(lag_table(seen, false, false) ==
        "TOPIC  PARTITION  COMMITTED  END  LAG  BEHIND  CLIENT  HOST\n"
        "t              0          -   15    -       -  -       -\n"
        "t              1          5   15   10   1m 0s  -       -\n");
}

TEST_CASE("partitions are written as they are read") {
  for (const std::string_view text : {"0", "0,1", "0-2", "0,2-4,6,7,9", "5-8,10"}) {
    INFO(text);
    CHECK(format_partitions(parse_partitions(text).value()) == text);
  }
  CHECK(format_partitions({}).empty());
}
