#include "broker/replication/log_cleaner.h"

#include <algorithm>
#include <utility>

#include "broker/runtime/logging.h"
#include "broker/runtime/random.h"

namespace millrace::replication {
namespace {

// Read and written in one step, at most: some ten milliseconds of a pool's thread.
constexpr int64_t kStepBytes = int64_t{4} << 20;
constexpr int64_t kLeastStepBytes = int64_t{64} << 10;
constexpr double kStepsPerSecond = 10;
// A wait for the throttle looks up this often, to see whether it should stop.
constexpr int64_t kLookUpMs = 100;
// A log that failed without being damaged is tried again after so many rounds.
constexpr int64_t kRoundsToRetry = 10;
constexpr double kNsPerSecond = 1e9;
constexpr double kMsPerSecond = 1e3;

}  // namespace

// One compaction on its way, on the shard of its partition.
class LogCleaner::Run {
 public:
  Run(const LogCleaner& cleaner, std::shared_ptr<Partition> partition, storage::CompactionPlan plan,
      const Limits& limits)
      : cleaner_(cleaner),
        partition_(std::move(partition)),
        shard_(*runtime::Shard::current()),
        limits_(limits),
        started_ns_(shard_.clock().monotonic_ns()),
        compaction_(cleaner.options_.files, std::move(plan), limits.memory_bytes,
                    {runtime::Random::system_seed(), runtime::Random::system_seed()}) {}

  runtime::Task<Result<End>> go() {
    auto end = co_await steps();
    if (!end && changed()) end = End::kGivenUp;
    if (!end || *end == End::kGivenUp) {
      auto discard = [this] { compaction_.discard(); };
      co_await cleaner_.options_.disk_pool.run(discard);
    }
    co_return end;
  }
  const storage::CompactionStats& stats() const { return compaction_.stats(); }
  double seconds() const {
    return static_cast<double>(shard_.clock().monotonic_ns() - started_ns_) / kNsPerSecond;
  }

 private:
  // Whether the partition went, or the log isn't any more what was planned for.
  bool changed() const {
    return partition_->removed() || partition_->log().has_changed_since(compaction_.plan());
  }

  runtime::Task<Result<End>> steps() {
    using State = storage::Compaction::State;
    while (true) {
      auto advance = [this] { return compaction_.advance(step_bytes()); };
      const Result<State> state = co_await cleaner_.options_.disk_pool.run(advance);
      if (!state) co_return std::unexpected(state.error());
      if (*state == State::kDone) break;
      if (*state == State::kSegmentReady) {
        const storage::CompactedSegment segment = compaction_.take_segment();
        const Result<End> swapped = co_await swap(segment);
        if (!swapped || *swapped == End::kGivenUp) co_return swapped;
      }
      co_await keep_to_the_limit();
      if (cleaner_.stopping_ || changed()) co_return End::kGivenUp;
    }
    if (changed()) co_return End::kGivenUp;
    auto store = [checkpoint = partition_->log().cleaner_checkpoint(), offset = compaction_.end_offset(),
                  version = compaction_.plan().version] { return checkpoint->advance(offset, version); };
    const Result<bool> stored = co_await cleaner_.options_.disk_pool.run(std::move(store));
    if (!stored) co_return std::unexpected(stored.error());
    co_return *stored ? End::kDone : End::kGivenUp;
  }

  int64_t step_bytes() const {
    const double bytes =
        std::min(limits_.bytes_per_second / kStepsPerSecond, static_cast<double>(kStepBytes));
    return std::max(static_cast<int64_t>(bytes), kLeastStepBytes);
  }

  // log.cleaner.io.max.bytes.per.second counts what is read and what is written.
  runtime::Task<> keep_to_the_limit() {
    const auto done = static_cast<double>(stats().bytes_read + stats().bytes_written);
    while (!cleaner_.stopping_) {
      const double ahead_ms = (done / limits_.bytes_per_second - seconds()) * kMsPerSecond;
      if (ahead_ms < 1) co_return;
      co_await shard_.sleep_ms(std::min(static_cast<int64_t>(ahead_ms), kLookUpMs));
    }
  }

  runtime::Task<Result<End>> swap(const storage::CompactedSegment& segment) {
    if (changed() || !partition_->log().may_swap(compaction_.plan(), segment))
      co_return co_await drop(segment);
    if (auto prepared = partition_->log().prepare_swap(segment, shard_.clock().now_ms()); !prepared) {
      const Result<End> dropped = co_await drop(segment);
      (void)dropped;
      co_return std::unexpected(prepared.error());
    }
    auto announce = [this, &segment, checkpoint = partition_->log().cleaner_checkpoint()] {
      return storage::persist_swap_intent(cleaner_.options_.index, *checkpoint, compaction_.plan(), segment);
    };
    const Result<bool> announced = co_await cleaner_.options_.disk_pool.run(std::move(announce));
    if (!announced || !*announced || changed() || !partition_->log().may_swap(compaction_.plan(), segment)) {
      const Result<End> dropped = co_await drop(segment);
      if (!announced) co_return std::unexpected(announced.error());
      co_return dropped;
    }
    storage::Log& log = partition_->log();
    auto swapped = log.swap_in(segment);
    if (!swapped) {
      const Result<End> dropped = co_await drop(segment);
      (void)dropped;
      co_return std::unexpected(swapped.error());
    }
    // From here on it must be brought to its end, whatever else happens.
    const storage::SegmentKey key{log.id(), segment.summary.base_offset};
    auto persist = [this, &segment, key, directory = log.directory(),
                    replaced = std::move(*swapped)]() mutable {
      replaced = nullptr;
      return storage::persist_swap(cleaner_.options_.files, cleaner_.options_.index, key, directory, segment);
    };
    const Result<> durable = co_await cleaner_.options_.disk_pool.run(std::move(persist));
    if (partition_->removed()) co_return End::kGivenUp;
    if (!durable) {
      partition_->log().mark_failed(durable.error());
      cleaner_.options_.sync_failed(durable.error());
      co_return std::unexpected(durable.error());
    }
    const Result<> finished = partition_->log().finish_swap(segment, shard_.clock().now_ms());
    if (!finished) co_return std::unexpected(finished.error());
    co_return End::kDone;
  }

  runtime::Task<Result<End>> drop(const storage::CompactedSegment& segment) {
    if (!partition_->removed()) partition_->log().abandon_compaction(segment);
    auto remove = [this, &segment] { return cleaner_.options_.files.remove(segment.path); };
    const Result<> removed = co_await cleaner_.options_.disk_pool.run(remove);
    if (!removed) co_return std::unexpected(removed.error());
    co_return End::kGivenUp;
  }

  const LogCleaner& cleaner_;
  const std::shared_ptr<Partition> partition_;
  runtime::Shard& shard_;
  const Limits limits_;
  const int64_t started_ns_;
  storage::Compaction compaction_;
};

LogCleaner::LogCleaner(Options options) : options_(std::move(options)) {}

runtime::Shard& LogCleaner::home() const { return options_.shards[0]; }

void LogCleaner::start() {
  running_ = true;
  home().spawn([this] { return loop(); });
}

runtime::Task<> LogCleaner::stop() {
  stopping_ = true;
  wakeup_.notify_all();
  while (running_) co_await ended_.wait();
}

runtime::Task<> LogCleaner::loop() {
  co_await ask_to_be_told(true);
  while (!stopping_) {
    if (!has_compacted()) {
      max_dirty_ratio_ = 0;
      max_overdue_ms_ = 0;
      co_await wakeup_.wait();
      continue;
    }
    const metadata::BrokerConfig config = options_.config();
    bool cleaned = false;
    if (config.log_cleaner_enable) cleaned = co_await clean_dirtiest(config);
    if (!cleaned && !stopping_)
      co_await wakeup_.wait_until(home().clock().deadline_in_ms(config.log_cleaner_backoff_ms));
  }
  co_await ask_to_be_told(false);
  running_ = false;
  ended_.notify_all();
}

// Of compacted logs that come: without any there is nothing to look at, now and then or ever.
runtime::Task<> LogCleaner::ask_to_be_told(bool on) {
  std::function<void()> tell;
  if (on) tell = [this] { home().post([this] { wakeup_.notify_all(); }); };
  for (size_t i = 0; i < options_.tables.size(); ++i) {
    auto ask = [this, i, &tell] { options_.tables[i]->when_compacted(tell); };
    co_await options_.shards[i].call(ask);
  }
}

bool LogCleaner::has_compacted() const {
  return std::ranges::any_of(options_.tables, [](const auto* table) { return table->compacted_count() > 0; });
}

runtime::Task<LogCleaner::Survey> LogCleaner::look_around() {
  Survey survey;
  const int64_t now_ms = home().clock().now_ms();
  const int64_t now_ns = home().clock().monotonic_ns();
  for (size_t i = 0; i < options_.tables.size(); ++i) {
    auto look = [this, i, now_ms, now_ns, &survey] {
      options_.tables[i]->for_each_compacted(
          [&](const Partition& partition) { look_at(partition, i, now_ms, now_ns, survey); });
    };
    co_await options_.shards[i].call(look);
  }
  co_return survey;
}

// On the partition's shard, while the home shard waits.
void LogCleaner::look_at(const Partition& partition, size_t shard, int64_t now_ms, int64_t now_ns,
                         Survey& survey) const {
  if (partition.removed() || !partition.log().config().compact) return;
  if (failures_.contains(partition.id())) survey.failing.insert(partition.id());
  const auto range = partition.log().cleanable(now_ms, partition.last_stable_offset());
  if (!range || !*range) return;
  survey.max_dirty_ratio = std::max(survey.max_dirty_ratio, (*range)->dirty_ratio());
  survey.max_overdue_ms = std::max(survey.max_overdue_ms, (*range)->overdue_ms);
  const auto failure = failures_.find(partition.id());
  if (failure != failures_.end() && failure->second.retry_ns > now_ns) return;
  const bool is_overdue = (*range)->overdue_ms > 0;
  if (!is_overdue && (*range)->dirty_ratio() <= partition.log().config().min_cleanable_dirty_ratio) return;
  const auto urgency = [](const storage::CleanableRange& of) {
    return std::pair(of.overdue_ms, of.dirty_ratio());
  };
  if (survey.best && urgency(survey.best->range) >= urgency(**range)) return;
  survey.best = Candidate{partition.id(), shard, **range};
}

runtime::Task<bool> LogCleaner::clean_dirtiest(const metadata::BrokerConfig& config) {
  const Survey survey = co_await look_around();
  // Those that are gone, or aren't compacted any more.
  std::erase_if(failures_, [&](const auto& item) { return !survey.failing.contains(item.first); });
  max_dirty_ratio_ = survey.max_dirty_ratio;
  max_overdue_ms_ = survey.max_overdue_ms;
  if (!survey.best || stopping_) co_return false;
  const Candidate best = *survey.best;
  const Limits limits{.memory_bytes = static_cast<size_t>(config.log_cleaner_dedupe_buffer_size),
                      .bytes_per_second = config.log_cleaner_io_max_bytes_per_second};
  std::string name;
  auto run = [this, &best, &limits, &name]() -> runtime::Task<Result<End>> {
    auto partition = options_.tables[best.shard]->find(best.id);
    if (!partition || partition->removed()) co_return End::kGivenUp;
    name = partition->log().name();
    Result<End> cleaned = co_await clean(partition, limits);
    if (!stopping_ && partition->take_held_retention())
      co_await options_.tables[best.shard]->retain(*partition);
    co_return cleaned;
  };
  const Result<End> end = co_await options_.shards[best.shard].call(run);
  if (!end) {
    note_failure(best.id, name, end.error(), config.log_cleaner_backoff_ms);
    co_return true;  // another log may be dirty, too
  }
  failures_.erase(best.id);
  co_return *end == End::kDone;
}

runtime::Task<Result<LogCleaner::End>> LogCleaner::clean(std::shared_ptr<Partition> partition,
                                                         Limits limits) {
  const Result<> synced = co_await sync(*partition);
  if (partition->removed()) co_return End::kGivenUp;
  if (!synced) co_return std::unexpected(synced.error());
  const int64_t now_ms = runtime::Shard::current()->clock().now_ms();
  const int64_t end_offset = std::min(partition->last_stable_offset(), partition->log().recovery_point());
  const auto range = partition->log().cleanable(now_ms, end_offset);
  if (!range) co_return std::unexpected(range.error());
  if (!*range) co_return End::kGivenUp;
  const std::string name = partition->log().name();
  Run run(*this, partition, partition->log().plan_compaction(**range, now_ms), limits);
  partition->set_compacting(true);
  const Result<End> end = co_await run.go();
  partition->set_compacting(false);
  if (end && *end == End::kDone) {
    const storage::CompactionStats& stats = run.stats();
    runtime::log_info("Compacted {}: {} bytes became {}, {} of {} records stayed, in {:.1f} s", name,
                      stats.bytes_before, stats.bytes_after, stats.records_kept, stats.records_read,
                      run.seconds());
  }
  co_return end;
}

// Checkpoints may be some time behind; what is compacted must be synced.
runtime::Task<Result<>> LogCleaner::sync(Partition& partition) {
  if (partition.log().recovery_point() >= partition.last_stable_offset()) co_return Result<>();
  const Result<storage::DirtyFiles> dirty = partition.log().dirty_files();
  if (!dirty) co_return std::unexpected(dirty.error());
  auto sync_files = [this, &dirty] { return dirty->sync(options_.files); };
  const Result<> synced = co_await options_.disk_pool.run(sync_files);
  if (partition.removed()) co_return synced;
  if (synced) {
    partition.log().mark_synced(*dirty);
  } else {
    partition.log().mark_failed(synced.error());
    options_.sync_failed(synced.error());
  }
  co_return synced;
}

void LogCleaner::note_failure(const TopicIdPartition& id, const std::string& name, const Error& error,
                              int64_t backoff_ms) {
  Failure& failure = failures_[id];
  const bool is_new = std::exchange(failure.reason, error.message) != error.message;
  if (error.code == ErrorCode::kKafkaStorageError) {
    failure.retry_ns = home().clock().deadline_in_ms(backoff_ms * kRoundsToRetry);
    if (is_new)
      runtime::log_warning("{} could not be compacted, and will be tried again: {}", name, error.message);
    return;
  }
  failure.retry_ns = runtime::kNever;
  runtime::log_error("{} isn't compacted any more until the next start: {}", name, error.message);
}

void LogCleaner::add_metrics(runtime::MetricsRegistry& registry) {
  registry.add_collector([this](runtime::MetricsWriter& out) -> runtime::Task<> {
    auto read = [this] {
      const auto damaged = std::ranges::count_if(
          failures_, [](const auto& item) { return item.second.retry_ns == runtime::kNever; });
      return std::tuple(static_cast<int64_t>(damaged), max_dirty_ratio_, max_overdue_ms_);
    };
    const auto [damaged, dirty_ratio, overdue_ms] = co_await home().call(read);
    out.describe("kafka_log_logcleanermanager_uncleanable_partitions_count", "gauge",
                 "Partitions that are damaged and therefore not compacted");
    out.sample("kafka_log_logcleanermanager_uncleanable_partitions_count", {}, damaged);
    out.describe("kafka_log_logcleanermanager_max_dirty_percent", "gauge",
                 "The largest dirty part of a compacted log, in percent");
    out.sample("kafka_log_logcleanermanager_max_dirty_percent", {}, static_cast<int64_t>(dirty_ratio * 100));
    out.describe("kafka_log_logcleaner_max_compaction_delay_secs", "gauge",
                 "By how long a compaction exceeds max.compaction.lag.ms");
    out.sample("kafka_log_logcleaner_max_compaction_delay_secs", {}, overdue_ms / 1000);
  });
}

}  // namespace millrace::replication
