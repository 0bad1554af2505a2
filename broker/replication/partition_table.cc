#include "broker/replication/partition_table.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "broker/runtime/logging.h"

namespace millrace::replication {
namespace {

// Logs of one shard that are closed at the same time.
constexpr size_t kClosers = 16;
// Whose files are open at once, for their sync after a kill.
constexpr size_t kOpenedAtOnce = 512;
// Logs; for more, one sync of the whole file system costs less.
constexpr size_t kSyncedOneByOne = 4;

// What became of the records in what was cut off.
std::string fate_of_cut(const storage::Log& log, const storage::RecoveryReport& report) {
  if (report.batches_restored > 0) return "What of that was acknowledged is restored from the journal.";
  if (log.config().flush_messages > 1)
    return "Whether it was acknowledged isn't known, since flush.messages is above 1.";
  return "A crash leaves that of records that were never acknowledged.";
}

void say(const storage::Log& log, const storage::RecoveryReport& report) {
  const std::string& name = log.name();
  for (const auto& damage : report.damages) {
    runtime::log_error("Recovery found: {}", storage::describe(damage, name));
  }
  for (const auto& cut : report.cuts) {
    if (cut.set_aside) {
      runtime::log_error(
          "Recovery of {} found damage: {} bytes of {} from position {} on, which may hold sound records, "
          "are out of the log now and kept in {}.cut: {}. See with `millrace log dump` what is in there.",
          name, cut.bytes, cut.file, cut.position, cut.file, cut.reason);
      continue;
    }
    runtime::log_warning("Recovery of {} cut {} bytes off the end of {}, from position {} on: {}. {}", name,
                         cut.bytes, cut.file, cut.position, cut.reason, fate_of_cut(log, report));
  }
  for (const std::string& warning : report.warnings)
    runtime::log_warning("Recovery of {}: {}", name, warning);
  for (const std::string& note : report.notes) runtime::log_info("Recovery of {}: {}", name, note);
  if (report.segments_scanned > 0) {
    runtime::log_debug("Recovery of {} read {} segments, {} bytes", name, report.segments_scanned,
                       report.bytes_scanned);
  }
}

}  // namespace

PartitionTable::PartitionTable(runtime::Shard& shard, Options options)
    : shard_(shard),
      options_(std::move(options)),
      commit_loop_(shard, {.sync_pool = options_.sync_pool,
                           .disk_pool = options_.disk_pool,
                           .files = options_.files,
                           .log_directory = options_.log_directory,
                           .sync_failed = options_.sync_failed}),
      check_interval_ms_(metadata::broker_config(options_.static_config).log_retention_check_interval_ms) {}

std::shared_ptr<Partition> PartitionTable::find(const TopicIdPartition& id) const {
  const auto found = partitions_.find(id);
  return found == partitions_.end() ? nullptr : found->second;
}

std::vector<TopicIdPartition> PartitionTable::failed() const {
  std::vector<TopicIdPartition> ids;
  for (const auto& [id, reason] : failed_) ids.push_back(id);
  return ids;
}

runtime::Task<> PartitionTable::on_image(metadata::ImagePtr, metadata::ImagePtr after,
                                         const metadata::ImageDelta& delta) {
  const auto turn = co_await turns_.take();
  image_ = after;
  for (const metadata::TopicChange& change : delta.topics) {
    const bool is_gone = !change.after || (change.before && change.before->id != change.after->id);
    if (change.before && is_gone) co_await retire(*change.before);
    if (!change.after) continue;
    reconfigure(*change.after, *after);
    co_await open_missing(*change.after, *after);
  }
  if (!delta.broker_configs) co_return;
  after->topics().for_each([&](const metadata::TopicPtr& topic) { reconfigure(*topic, *after); });
}

runtime::Task<> PartitionTable::open_missing(const metadata::TopicImage& topic,
                                             const metadata::ClusterImage& image) {
  std::vector<Opening> openings;
  for (size_t i = 0; i < topic.partitions.size(); ++i) {
    const TopicIdPartition id{topic.id, static_cast<int32_t>(i)};
    if (!is_mine(id) || partitions_.contains(id)) continue;
    openings.emplace_back();
    openings.back().id = id;
    openings.back().leader_epoch = topic.partitions[i].leader_epoch;
  }
  if (openings.empty()) co_return;
  const auto config = metadata::topic_config(options_.static_config, image, options_.node_id, topic);
  const int64_t expiration_ms =
      metadata::broker_config(options_.static_config, image, options_.node_id).producer_id_expiration_ms;
  auto open = [&, journal = &commit_loop_.journal()] {
    for (size_t at = 0; at < openings.size(); at += kOpenedAtOnce) {
      const auto some = std::span(openings).subspan(at, std::min(kOpenedAtOnce, openings.size() - at));
      open_logs(some, topic.name, config.log, expiration_ms, *journal);
    }
  };
  co_await options_.disk_pool.run(open);
  for (Opening& opening : openings) adopt(topic, opening);
}

// On a thread of the disk pool.
void PartitionTable::open_logs(std::span<Opening> openings, const std::string& topic,
                               const storage::LogConfig& config, int64_t expiration_ms,
                               storage::Journal& journal) const {
  std::vector<storage::PartitionDirectory> directories;
  for (Opening& opening : openings) {
    auto directory = options_.log_directory.create(topic, opening.id);
    if (directory) {
      open_log(*directory, config, expiration_ms, journal, opening);
      directories.push_back(std::move(*directory));
    } else {
      opening.log = std::unexpected(directory.error());
    }
  }
  Result<> synced = options_.log_directory.sync_new(directories);
  if (synced) synced = sync_recovered(openings);
  for (Opening& opening : openings) {
    if (!synced && opening.log) opening.log = std::unexpected(synced.error());
  }
}

// What a killed process left in the page cache is shown to consumers from now on, so it must be on disk, too.
Result<> PartitionTable::sync_recovered(std::span<Opening> openings) const {
  std::vector<storage::Log*> logs;
  for (Opening& opening : openings) {
    if (opening.log && (*opening.log)->recovery_point() < (*opening.log)->log_end_offset())
      logs.push_back(opening.log->get());
  }
  const bool all_at_once = logs.size() > kSyncedOneByOne;
  if (all_at_once) {
    if (auto synced = options_.files.sync_all(options_.log_directory.path()); !synced) return synced;
  }
  for (storage::Log* log : logs) {
    const auto dirty = log->dirty_files();
    if (!dirty) return std::unexpected(dirty.error());
    if (!all_at_once) {
      if (auto synced = dirty->sync(options_.files); !synced) return synced;
    }
    log->mark_synced(*dirty);
    // Thousands may have been opened.
    if (all_at_once) log->close_synced();
  }
  return {};
}

// On a thread of the disk pool.
void PartitionTable::open_log(const storage::PartitionDirectory& directory, const storage::LogConfig& config,
                              int64_t expiration_ms, storage::Journal& journal, Opening& opening) const {
  storage::LogDirectory& log_directory = options_.log_directory;
  opening.log = storage::Log::open(options_.files, log_directory.index(),
                                   {.directory = directory.path,
                                    .id = opening.id,
                                    .topic = directory.topic,
                                    .config = config,
                                    .now_ms = shard_.clock().now_ms(),
                                    .clean_shutdown = log_directory.clean_shutdown(),
                                    .is_new = directory.is_new,
                                    .syncs_later = true,
                                    .producer_expiration_ms = expiration_ms,
                                    .journal = &journal,
                                    .journaled = log_directory.journals().recovered(opening.id)},
                                   &opening.report);
  if (!opening.log) return;
  storage::Log& log = **opening.log;
  // The first append would else do it, and hold up the shard until it is synced.
  if (directory.is_new && opening.leader_epoch >= 0) {
    const auto begun = log.leader_epochs().begin(opening.leader_epoch, log.log_end_offset());
    if (!begun) opening.log = std::unexpected(begun.error());
  }
}

// Said once, not at every try; and a full disk, which keeps out many at a time, with the first of them.
void PartitionTable::note_failure(const metadata::TopicImage& topic, const Opening& opening) {
  const Error& error = opening.log.error();
  Error& before = failed_[opening.id];
  const bool is_full = storage::is_full_disk(error);
  if (before.message != error.message && !(is_full && full_disk_told_)) {
    runtime::log_error("Partition {}-{} is out of service{}: {}", topic.name, opening.id.partition,
                       is_full ? ", and others may be that aren't named here, until the disk has space" : "",
                       error.message);
  }
  full_disk_told_ = full_disk_told_ || is_full;
  before = error;
  failed_count_.store(failed_.size());
  if (retry_at_ns_ != runtime::kNever) return;
  retry_at_ns_ = shard_.clock().deadline_in_ms(retry_ms_);
  wakeup_.notify_all();
}

void PartitionTable::adopt(const metadata::TopicImage& topic, Opening& opening) {
  if (!opening.log) return note_failure(topic, opening);
  if (const auto failed = failed_.find(opening.id); failed != failed_.end()) {
    const bool is_known = storage::is_full_disk(failed->second);
    failed_.erase(failed);
    if (!is_known) runtime::log_info("Partition {}-{} is back in service", topic.name, opening.id.partition);
    if (failed_.empty() && std::exchange(full_disk_told_, false))
      runtime::log_info("The disk has space again: all partitions are in service");
  }
  failed_count_.store(failed_.size());
  options_.log_directory.journals().mark_recovered(opening.id);
  say(**opening.log, opening.report);
  const auto partition =
      std::make_shared<Partition>(std::move(*opening.log), topic.name, opening.leader_epoch, commit_loop_);
  partitions_.emplace(opening.id, partition);
  // Only then: of thousands that nobody writes to, hardly any does.
  if (partition->log().lacks_checkpoint()) commit_loop_.recovered(*partition, opening.report.bytes_scanned);
  note_compacted(*partition);
}

void PartitionTable::note_compacted(const Partition& partition) {
  if (!partition.log().config().compact) {
    compacted_.erase(partition.id());
  }
  const bool is_new = partition.log().config().compact && compacted_.insert(partition.id()).second;
  compacted_count_.store(compacted_.size());
  if (is_new && tell_compacted_) tell_compacted_();
}

runtime::Task<> PartitionTable::retire(const metadata::TopicImage& topic) {
  std::vector<storage::PartitionDirectory> directories;
  std::vector<std::unique_ptr<storage::Log>> logs;
  for (size_t i = 0; i < topic.partitions.size(); ++i) {
    const auto found = partitions_.find({topic.id, static_cast<int32_t>(i)});
    if (found == partitions_.end()) continue;
    const auto partition = std::exchange(found->second, nullptr);
    partitions_.erase(found);
    compacted_.erase(partition->id());
    logs.push_back(partition->remove());
    directories.push_back({logs.back()->directory(), topic.name, partition->id()});
  }
  compacted_count_.store(compacted_.size());
  std::set<TopicIdPartition> broken;
  std::erase_if(failed_, [&](const auto& entry) {
    if (entry.first.topic_id != topic.id) return false;
    broken.insert(entry.first);
    options_.log_directory.journals().mark_recovered(entry.first);
    return true;
  });
  failed_count_.store(failed_.size());
  if (directories.empty() && broken.empty()) co_return;
  auto retire_all = [&]() -> Result<> {
    // Here, because they wait for what is being written to their directories, and before these have other
    // names: a sync that doesn't find one asks whether its log is gone.
    logs.clear();
    if (!broken.empty()) {
      auto all = options_.log_directory.list(nullptr);
      if (!all) return std::unexpected(all.error());
      for (auto& directory : *all) {
        if (broken.contains(directory.id)) directories.push_back(std::move(directory));
      }
    }
    for (const auto& directory : directories) {
      if (auto retired = options_.log_directory.retire(directory); !retired) return retired;
    }
    return {};
  };
  if (const Result<> retired = co_await options_.disk_pool.run(retire_all); !retired) {
    runtime::log_error("Files of the deleted topic {} could not be removed: {}", topic.name,
                       retired.error().message);
  }
  has_retired_ = true;
  if (!std::exchange(removing_, true)) shard_.spawn([this] { return remove_retired(); });
}

// Outside of the turn: there may be many files, and what comes next is for other topics, or other files.
runtime::Task<> PartitionTable::remove_retired() {
  while (std::exchange(has_retired_, false)) {
    auto remove = [this] { return options_.log_directory.remove_retired(); };
    const Result<size_t> removed = co_await options_.disk_pool.run(remove);
    if (!removed)
      runtime::log_error("Files of deleted topics could not be removed: {}", removed.error().message);
  }
  removing_ = false;
  ended_.notify_all();
}

void PartitionTable::reconfigure(const metadata::TopicImage& topic, const metadata::ClusterImage& image) {
  std::vector<Partition*> mine;
  for (size_t i = 0; i < topic.partitions.size(); ++i) {
    const auto partition = find({topic.id, static_cast<int32_t>(i)});
    if (!partition) continue;
    partition->set_leader_epoch(topic.partitions[i].leader_epoch);
    mine.push_back(partition.get());
  }
  if (mine.empty()) return;
  const auto config = metadata::topic_config(options_.static_config, image, options_.node_id, topic);
  for (Partition* partition : mine) {
    partition->log().set_config(config.log);
    note_compacted(*partition);
  }
}

void PartitionTable::start() {
  tending_ = true;
  shard_.spawn([this] { return commit_loop_.run(); });
  shard_.spawn([this] { return tend(); });
}

runtime::Task<size_t> PartitionTable::stop() {
  stopping_ = true;
  wakeup_.notify_all();
  while (tending_ || removing_) co_await ended_.wait();
  co_await commit_loop_.stop();
  std::vector<std::unique_ptr<storage::Log>> logs;
  for (const auto& partition : all()) logs.push_back(partition->remove());
  // Each close waits for the disk a few times, so several at once take hardly longer than one.
  std::atomic<size_t> next = 0;
  std::atomic<size_t> failures = 0;
  auto close_some = [&, now_ms = shard_.clock().now_ms()] {
    for (size_t i = next++; i < logs.size(); i = next++) {
      if (const auto closed = logs[i]->close(now_ms); !closed) {
        runtime::log_error("Log {} could not be closed: {}", logs[i]->name(), closed.error().message);
        ++failures;
      }
    }
  };
  size_t running = std::min(kClosers, logs.size());
  runtime::Notifier closed;
  for (size_t i = running; i > 0; --i) {
    auto closer = [&]() -> runtime::Task<> {
      co_await options_.disk_pool.run(close_some);
      --running;
      closed.notify_all();
    };
    shard_.spawn(closer);
  }
  while (running > 0) co_await closed.wait();
  partitions_.clear();
  compacted_.clear();
  compacted_count_.store(0);
  co_return failures.load();
}

std::vector<std::shared_ptr<Partition>> PartitionTable::all() const {
  std::vector<std::shared_ptr<Partition>> partitions;
  partitions.reserve(partitions_.size());
  for (const auto& [id, partition] : partitions_) partitions.push_back(partition);
  return partitions;
}

runtime::Task<> PartitionTable::tend() {
  const runtime::Clock& clock = shard_.clock();
  int64_t next_ns = clock.deadline_in_ms(check_interval_ms_);
  while (!stopping_) {
    co_await wakeup_.wait_until(std::min(next_ns, retry_at_ns_));
    if (!stopping_ && clock.monotonic_ns() >= retry_at_ns_) co_await retry_failed();
    if (stopping_ || clock.monotonic_ns() < next_ns) continue;
    co_await tend_all();
    next_ns = clock.deadline_in_ms(check_interval_ms_);
  }
  tending_ = false;
  ended_.notify_all();
}

// A log may have failed to open for want of space or descriptors, which comes back.
runtime::Task<> PartitionTable::retry_failed() {
  const auto turn = co_await turns_.take();
  std::set<Uuid> topics;
  for (const auto& [id, reason] : failed_) topics.insert(id.topic_id);
  for (const Uuid& id : topics) {
    if (const auto topic = image_->topic(id)) co_await open_missing(*topic, *image_);
  }
  retry_ms_ = failed_.empty() ? kFirstRetryMs : std::min(retry_ms_ * 2, check_interval_ms_);
  retry_at_ns_ = failed_.empty() ? runtime::kNever : shard_.clock().deadline_in_ms(retry_ms_);
}

runtime::Task<> PartitionTable::tend_all() {
  const auto partitions = all();
  for (const auto& partition : partitions) {
    if (stopping_) co_return;
    // First what gives space back: on a full disk the rest may fail for want of it.
    co_await remove_due_files(*partition);
    co_await tend(*partition);
    // Those of just now, if file.delete.delay.ms is 0.
    co_await remove_due_files(*partition);
    // Requests come in between.
    co_await shard_.sleep_ms(0);
  }
}

// So that what was deleted doesn't come back once its file is removed.
runtime::Task<Result<>> PartitionTable::sync_names(Partition& partition) {
  const storage::DirtyNames names = partition.log().dirty_names();
  if (names.directory.empty()) co_return Result<>{};
  auto sync = [&] { return options_.files.sync_directory(names.directory); };
  const Result<> synced = co_await options_.disk_pool.run(sync);
  if (synced && !partition.removed()) partition.log().mark_names_synced(names);
  co_return synced;
}

runtime::Task<> PartitionTable::remove_due_files(Partition& partition) {
  if (partition.removed() || !partition.log().has_due_files(shard_.clock().now_ms())) co_return;
  const std::string name = partition.log().name();
  const Result<> synced = co_await sync_names(partition);
  if (!synced) {
    runtime::log_error("Deleted segments of {} stay until the names in its directory can be synced: {}", name,
                       synced.error().message);
  }
  if (!synced || partition.removed()) co_return;
  const storage::DueFiles due = partition.log().take_due_files(shard_.clock().now_ms());
  if (due.empty()) co_return;
  auto remove = [&due, &files = options_.files] { return due.remove(files); };
  const Result<> removed = co_await options_.disk_pool.run(remove);
  if (!removed) runtime::log_error("Deleted segments stay until the next start: {}", removed.error().message);
}

runtime::Task<> PartitionTable::tend(Partition& partition) {
  if (partition.removed() || partition.log().is_offline()) co_return;
  const int64_t now_ms = shard_.clock().now_ms();
  storage::Log& log = partition.log();
  log.producers().expire(now_ms);
  log.rest_unused();
  if (const auto rolled = log.roll_if_due(now_ms); !rolled) {
    runtime::log_error("{} could not start a new segment: {}", log.name(), rolled.error().message);
    co_return;
  }
  co_await retain(partition);
}

runtime::Task<> PartitionTable::retain(Partition& partition) {
  if (partition.removed() || partition.log().is_offline()) co_return;
  if (partition.compacting()) {
    partition.hold_retention();
    co_return;
  }
  const int64_t now_ms = shard_.clock().now_ms();
  storage::Log& log = partition.log();
  // Its log may be gone after a wait.
  const std::string name = log.name();
  const Result<bool> needs_names = log.roll_for_retention(now_ms, partition.high_watermark());
  Result<> synced;
  if (needs_names && *needs_names) {
    synced = co_await sync_names(partition);
    if (partition.removed()) co_return;
  }
  Result<storage::RetentionReport> report = storage::RetentionReport();
  if (!needs_names || !synced) {
    report = std::unexpected(needs_names ? synced.error() : needs_names.error());
  } else {
    report = log.delete_expired(now_ms, partition.high_watermark());
  }
  if (report && report->count() > 0) {
    synced = co_await sync_names(partition);
    if (!synced) report = std::unexpected(synced.error());
  }
  if (!report) {
    runtime::log_error("Retention of {} failed: {}", name, report.error().message);
  } else if (report->count() > 0) {
    partition.tell_readers();
    runtime::log_info(
        "Retention of {} deleted {} segments ({} by time, {} by size, {} below the log start), {} bytes",
        name, report->count(), report->by_time, report->by_size, report->by_start_offset, report->bytes);
  }
}

}  // namespace millrace::replication
