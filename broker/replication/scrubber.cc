#include "broker/replication/scrubber.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "broker/runtime/logging.h"

namespace millrace::replication {
namespace {

// A start has better things to do.
constexpr int64_t kFirstPauseMs = 60'000;
// Read in one step: a millisecond or a few of a pool's thread.
constexpr int64_t kStepBytes = int64_t{1} << 20;
// The pace is such that a pass would take a half of its interval, but no slower than this.
constexpr double kLeastBytesPerMs = 1024;
// A pause looks up this often, to see whether it should stop.
constexpr double kLookUpMs = 100;

}  // namespace

void Scrubber::start() {
  running_ = true;
  home().spawn([this] { return loop(); });
}

runtime::Task<> Scrubber::stop() {
  stopping_ = true;
  wakeup_.notify_all();
  while (running_) co_await ended_.wait();
}

runtime::Task<> Scrubber::loop() {
  const runtime::Clock& clock = home().clock();
  int64_t next_ns = clock.monotonic_ns();
  int64_t pause_ms = kFirstPauseMs;
  while (!stopping_) {
    const int64_t interval_ms = options_.config().log_scrub_interval_ms;
    const bool is_on = interval_ms > 0;
    // While it is off, it looks now and then whether it still is.
    const int64_t wait_ms = is_on ? std::min(pause_ms, interval_ms) : kFirstPauseMs;
    co_await wakeup_.wait_until(std::max(next_ns, clock.deadline_in_ms(wait_ms)));
    if (stopping_ || !is_on) continue;
    next_ns = clock.deadline_in_ms(interval_ms);
    pause_ms = 0;
    co_await pass(interval_ms);
  }
  running_ = false;
  ended_.notify_all();
}

runtime::Task<> Scrubber::pass(int64_t interval_ms) {
  std::vector<Target> targets;
  int64_t bytes = 0;
  for (size_t i = 0; i < options_.tables.size(); ++i) {
    auto look = [this, i, &targets, &bytes] {
      options_.tables[i]->for_each([&](const Partition& partition) {
        if (partition.removed()) return;
        targets.push_back({i, partition.id()});
        bytes += partition.log().size_bytes();
      });
    };
    co_await options_.shards[i].call(look);
  }
  const double pace =
      std::max(kLeastBytesPerMs, 2 * static_cast<double>(bytes) / static_cast<double>(interval_ms));
  for (const Target& target : targets) {
    if (stopping_) co_return;
    auto scrub_there = [this, &target, pace] { return scrub(target, pace); };
    co_await options_.shards[target.shard].call(scrub_there);
  }
  if (!stopping_) passes_.fetch_add(1);
}

runtime::Task<> Scrubber::scrub(Target target, double bytes_per_ms) {
  const auto partition = options_.tables[target.shard]->find(target.id);
  if (!partition || partition->removed()) co_return;
  const std::vector<storage::SealedSegment> segments = partition->log().sealed_segments();
  for (const storage::SealedSegment& segment : segments) {
    if (stopping_ || partition->removed()) co_return;
    co_await scrub(*partition, segment, bytes_per_ms);
  }
}

runtime::Task<> Scrubber::scrub(Partition& partition, const storage::SealedSegment& segment,
                                double bytes_per_ms) {
  auto open = [this, &segment] { return options_.files.open(segment.path, storage::OpenMode::kRead); };
  auto file = co_await options_.disk_pool.run(open);
  if (!file) co_return;  // retention or compaction was faster
  storage::SegmentSurvey survey(std::move(*file), segment);
  for (bool more = true; more;) {
    if (stopping_ || partition.removed()) co_return;
    const int64_t before = survey.position();
    auto advance = [&survey] { return survey.advance(kStepBytes); };
    more = co_await options_.disk_pool.run(advance);
    const int64_t done = survey.position() - before;
    bytes_.fetch_add(done);
    co_await rest(static_cast<double>(done) / bytes_per_ms);
  }
  if (partition.removed() || !report(partition, survey)) co_return;
  // So that the next start finds it, too. Without it, the next scrub does.
  auto flush = [this] { return options_.index.flush(); };
  (void)co_await options_.disk_pool.run(flush);
}

bool Scrubber::report(Partition& partition, const storage::SegmentSurvey& survey) {
  storage::Log& log = partition.log();
  bool is_news = false;
  for (const storage::DamagedRange& damage : survey.damages()) {
    if (!log.note_damage(survey.segment(), damage, runtime::Shard::current()->clock().now_ms())) continue;
    is_news = true;
    const storage::DamagedRange* noted = log.damages().covering(damage.first_offset);
    runtime::log_error("A scrub found: {}", storage::describe(noted ? *noted : damage, log.name()));
  }
  return is_news;
}

runtime::Task<> Scrubber::rest(double ms) {
  while (ms > 0 && !stopping_) {
    co_await runtime::Shard::current()->sleep_ms(static_cast<int64_t>(std::min(ms, kLookUpMs)) + 1);
    ms -= kLookUpMs;
  }
}

void Scrubber::add_metrics(runtime::MetricsRegistry& registry) {
  registry.add_collector([this](runtime::MetricsWriter& out) -> runtime::Task<> {
    int64_t ranges = 0;
    for (size_t i = 0; i < options_.tables.size(); ++i) {
      auto count = [this, i, &ranges] {
        options_.tables[i]->for_each([&](const Partition& partition) {
          if (!partition.removed()) ranges += static_cast<int64_t>(partition.log().damages().count());
        });
      };
      co_await options_.shards[i].call(count);
    }
    out.describe("millrace_log_damaged_ranges", "gauge",
                 "Ranges of offsets that are damaged on disk and not served");
    out.sample("millrace_log_damaged_ranges", {}, ranges);
    out.describe("millrace_scrub_bytes_total", "counter", "Bytes of segments that were read to find damage");
    out.sample("millrace_scrub_bytes_total", {}, bytes_.load());
    out.describe("millrace_scrub_passes_total", "counter", "Passes over everything stored that ended");
    out.sample("millrace_scrub_passes_total", {}, passes_.load());
  });
}

}  // namespace millrace::replication
