#include "broker/runtime/metrics.h"

#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "broker/runtime/rate_limited_log.h"
#include "broker/runtime/shard_group.h"
#include "broker/runtime/termination_signals.h"

using namespace millrace::runtime;

TEST_CASE("metrics read as Prometheus' text", "[metrics]") {
  ShardGroup shards(2, SystemClock::instance(), 1);
  MetricsRegistry registry;
  Counter& produce = registry.counter("requests_total", "Requests", {{"api", "Produce"}});
  registry.counter("requests_total", "Requests", {{"api", "a \"b\"\\\n"}}).add(2);
  CHECK(&produce == &registry.counter("requests_total", "Requests", {{"api", "Produce"}}));
  const std::string control("\0\x1b[31m\xc2\x9b\x7f\xff\xc3\xbc", 12);
  registry.counter("requests_total", "Requests", {{"api", control}}).add(3);
  registry.gauge("temperature", "Now").set(-3);
  Histogram& latency = registry.histogram("latency_seconds", "Time", {0.5, 1}, {{"x", "y"}});
  for (const double seconds : {0.25, 0.5, 0.75, 4.0}) latency.observe(seconds);
  for (const auto& shard : shards) shard->run([&] { produce.add(21); });
  registry.add_collector([&](MetricsWriter& writer) -> Task<> {
    auto where = [] { return static_cast<int64_t>(Shard::current()->id()); };
    writer.describe("shard", "gauge", "Where it ran");
    const int64_t shard = co_await shards[1].call(where);
    const Labels labels(1, std::pair<std::string, std::string>("topic", "t"));
    writer.sample("shard", labels, shard);
    writer.sample("shard", Labels(), 0.5);
  });
  registry.add_collector([](MetricsWriter&) -> Task<> {
    throw std::runtime_error("out of order");
    co_return;
  });
  auto scrape = [&] { return registry.scrape(); };
  CHECK(shards[0].run(scrape) ==
        "# HELP latency_seconds Time\n# TYPE latency_seconds histogram\n"
        "latency_seconds_bucket{x=\"y\",le=\"0.5\"} 2\n"
        "latency_seconds_bucket{x=\"y\",le=\"1\"} 3\n"
        "latency_seconds_bucket{x=\"y\",le=\"+Inf\"} 4\n"
        "latency_seconds_sum{x=\"y\"} 5.5\n"
        "latency_seconds_count{x=\"y\"} 4\n"
        "# HELP requests_total Requests\n# TYPE requests_total counter\n"
        "requests_total{api=\"\\\\x00\\\\x1b[31m\\\\xc2\\\\x9b\\\\x7f\\\\xff\xc3\xbc\"} 3\n"
        "requests_total{api=\"Produce\"} 42\n"
        "requests_total{api=\"a \\\"b\\\"\\\\\\n\"} 2\n"
        "# HELP shard Where it ran\n# TYPE shard gauge\n"
        "shard{topic=\"t\"} 1\nshard 0.5\n"
        "# HELP temperature Now\n# TYPE temperature gauge\ntemperature -3\n");
}

TEST_CASE("a rate limited log counts what it leaves out", "[logging]") {
  RateLimitedLog log(LogLevel::kWarning, 3);
  constexpr int64_t kSecond = 1'000'000'000;
  for (int i = 0; i < 3; ++i) CHECK(log.admit(kSecond) == 0u);
  for (int i = 0; i < 10; ++i) CHECK_FALSE(log.admit(kSecond + i));
  CHECK(log.admit(2 * kSecond) == 10u);
  CHECK(log.admit(2 * kSecond) == 0u);
}

TEST_CASE("log levels are read by name", "[logging]") {
  LogLevel level = LogLevel::kOff;
  CHECK(parse_log_level("debug", level));
  CHECK(level == LogLevel::kDebug);
  CHECK(parse_log_level("warn", level));
  CHECK(level == LogLevel::kWarning);
  CHECK_FALSE(parse_log_level("loud", level));
}

TEST_CASE("a signal or a request ends the wait", "[signals]") {
  {
    TerminationSignals signals;
    signals.request();
    CHECK(signals.wait() == 0);
  }
  TerminationSignals signals;
  pthread_kill(pthread_self(), SIGTERM);
  CHECK(signals.wait() == SIGTERM);
}

TEST_CASE("randomness follows from its seed and keeps its bounds", "[random]") {
  Random a(1), b(1), c(2);
  CHECK(a.next() == b.next());
  CHECK(a.next() != c.next());
  int low = 0;
  for (int i = 0; i < 3000; ++i) {
    const uint64_t value = a.below(3);
    REQUIRE(value < 3);
    low += value == 0;
    const double unit = a.unit();
    REQUIRE((unit >= 0 && unit < 1));
  }
  CHECK(low > 800);
  CHECK(low < 1200);
}
