// A shard's storage without its coroutines: several logs on one journal and one index, and the rounds that
// the broker drives (commits, checkpoints, compactions), cut into steps between which anything may happen.
// The steps and their order are those of broker/replication/{commit_loop,checkpointer,log_cleaner}.cc.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "storage/journal_directory.h"
#include "storage/log.h"
#include "tests/storage/fault_file_system.h"

namespace millrace::storage::test {

// Mistakes that the simulation must notice.
enum class Plant {
  kNone,
  kUnwrittenGroup,        // a commit doesn't write its group to the journal
  kSkippedSync,           // a commit doesn't sync what it doesn't journal
  kUncheckedCrc,          // recovery takes a batch whose CRC is wrong
  kEarlyReuse,            // a checkpoint frees the journal before its segments are synced
  kEarlySummary,          // the index calls synced what isn't yet
  kJournalAfterTruncate,  // a truncation doesn't leave the journal behind
  kUnsyncedSwap,          // a compaction swaps a file in before it is synced
  kUnsyncedNames,         // a commit and a checkpoint don't sync the names of new segments
  kKnownSalt,             // a client knows the journal's salt
  kUnwrittenHeld,         // what a log held back isn't written
  kNothingAside,          // and has no space set aside
};

struct SimulatedPartition {
  LogOptions options;
  std::unique_ptr<Log> log;
  bool changed = false;  // since the last checkpoint
};

class SimulatedShard {
 public:
  // Small, so that they fill up and are reused.
  static constexpr int64_t kJournalFileBytes = int64_t{20} << 10;
  static constexpr std::string_view kJournalPath = "/data/journal";

  // `group_bytes`: of the journal's groups, at most.
  SimulatedShard(FaultFileSystem& files, Plant plant, size_t group_bytes)
      : files_(files), plant_(plant), group_bytes_(group_bytes) {}

  std::vector<SimulatedPartition>& partitions() { return partitions_; }
  OffsetIndex& index() { return *index_; }
  Journal& journal() { return *journal_; }
  // What a client takes the journal's salt for.
  uint64_t guessed_salt() const {
    const uint64_t salt = journal_->run().salt;
    return plant_ == Plant::kKnownSalt ? salt : salt + 1;
  }

  // A start. After an error everything is as after a kill.
  Result<> open(bool clean) {
    if (!index_) index_ = std::move(*OffsetIndex::open_in_memory());
    auto opened = JournalDirectory::open(files_, std::string(kJournalPath), !clean, kJournalFileBytes);
    if (!opened) return std::unexpected(opened.error());
    journals_ = std::move(*opened);
    journal_ =
        std::make_unique<Journal>(journals_->next_run(salt_of(++starts_)), kJournalFileBytes, group_bytes_);
    for (SimulatedPartition& partition : partitions_) {
      LogOptions& options = partition.options;
      options.syncs_later = starts_ % 2 == 0;
      options.clean_shutdown = clean;
      options.journal = journal_.get();
      options.journaled = journals_->recovered(options.id);
      auto log = Log::open(files_, *index_, options, nullptr);
      if (!log) return std::unexpected(log.error());
      partition.log = std::move(*log);
      partition.changed = partition.log->lacks_checkpoint();
    }
    if (auto synced = sync_recovered(); !synced) return synced;
    for (SimulatedPartition& partition : partitions_) journals_->mark_recovered(partition.options.id);
    journals_->keep_for({});
    return {};
  }
  // As the table of partitions does.
  Result<> sync_recovered() {
    const auto is_synced = [](const SimulatedPartition& partition) {
      return partition.log->recovery_point() >= partition.log->log_end_offset();
    };
    if (std::all_of(partitions_.begin(), partitions_.end(), is_synced)) return {};
    if (auto synced = files_.sync_all("/data"); !synced) return synced;
    for (SimulatedPartition& partition : partitions_) {
      if (is_synced(partition)) continue;
      const auto dirty = partition.log->dirty_files();
      if (!dirty) return std::unexpected(dirty.error());
      partition.log->mark_synced(*dirty);
    }
    return {};
  }
  // The process is gone, and of the index what wasn't flushed.
  void die(bool with_index) {
    commit_.reset();
    checkpoint_.reset();
    cleaning_.reset();
    for (SimulatedPartition& partition : partitions_) partition.log.reset();
    journal_.reset();
    journals_.reset();
    if (with_index) {
      index_.reset();
    } else if (index_) {
      index_ = std::move(*OffsetIndex::reopen_without_flush(std::move(index_)));
    }
  }
  // A clean stop, at the end of all rounds. The index is flushed.
  Result<> close(int64_t now_ms) {
    for (SimulatedPartition& partition : partitions_) {
      if (auto closed = partition.log->close(now_ms); !closed) return closed;
      partition.log.reset();
    }
    return index_->flush();
  }

  // Of the shard's commit loop. Each call does one step; the last tells what is acknowledged.
  struct Commit {
    std::vector<std::pair<size_t, LogCommit>> members;
    std::vector<Journal::Write> groups;
    size_t next_group = 0;
    size_t next = 0;
  };
  bool is_committing() const { return commit_.has_value(); }
  Result<> begin_commit(const std::vector<size_t>& partitions) {
    commit_.emplace();
    for (const size_t i : partitions) {
      auto commit = partitions_[i].log->take_commit();
      if (!commit) return std::unexpected(commit.error());
      commit_->members.emplace_back(i, std::move(*commit));
    }
    commit_->groups = journal_->take();
    return {};
  }
  // Whether there is more to write or to sync.
  Result<bool> continue_commit() {
    if (commit_->next_group < commit_->groups.size()) {
      const Journal::Write& group = commit_->groups[commit_->next_group++];
      if (plant_ == Plant::kUnwrittenGroup && files_.below(4) == 0) return true;
      if (auto written = Journal::write(group); !written) return std::unexpected(written.error());
      return true;
    }
    if (commit_->next == commit_->members.size()) return false;
    DirtyFiles& dirty = commit_->members[commit_->next++].second.dirty;
    if (plant_ == Plant::kSkippedSync && files_.below(4) == 0) return true;
    if (plant_ == Plant::kUnsyncedNames) dirty.directory.clear();
    if (auto synced = dirty.sync(files_); !synced) return std::unexpected(synced.error());
    return true;
  }
  // `acknowledge(partition, end offset)`.
  template <class Acknowledge>
  void finish_commit(Acknowledge acknowledge) {
    journal_->done();
    for (const auto& [i, commit] : commit_->members) {
      acknowledge(i, partitions_[i].log->finish_commit(commit));
    }
    commit_.reset();
  }

  bool wants_journal_file() const { return journal_->wants_file(); }
  Result<> add_journal_file() {
    auto file = journals_->take_file(journal_->run());
    if (!file) return std::unexpected(file.error());
    if (auto surplus = journal_->add_file(std::move(*file))) journals_->give_back(std::move(surplus));
    return {};
  }

  struct Checkpoint {
    std::vector<std::shared_ptr<File>> full;
    std::vector<std::pair<size_t, LogCheckpointing>> members;
    size_t next = 0;
    JournalPosition begun_at;
    bool syncs_all = false;
  };
  bool is_checkpointing() const { return checkpoint_.has_value(); }
  Result<> begin_checkpoint(bool syncs_all) {
    checkpoint_.emplace();
    checkpoint_->syncs_all = syncs_all;
    checkpoint_->full = journal_->take_full();
    checkpoint_->begun_at = journal_->next_position();
    for (size_t i = 0; i < partitions_.size(); ++i) {
      SimulatedPartition& partition = partitions_[i];
      if (!std::exchange(partition.changed, false)) continue;
      auto begun = partition.log->begin_checkpoint();
      if (!begun) return std::unexpected(begun.error());
      if (plant_ == Plant::kUnsyncedNames) begun->dirty.directory.clear();
      if (plant_ == Plant::kEarlySummary) {
        partition.log->finish_checkpoint(*begun);
        (void)index_->flush();
      }
      checkpoint_->members.emplace_back(i, std::move(*begun));
    }
    if (plant_ == Plant::kEarlyReuse) give_back_full();
    return {};
  }
  Result<bool> continue_checkpoint() {
    if (checkpoint_->next == checkpoint_->members.size()) return false;
    if (checkpoint_->syncs_all && plant_ != Plant::kUnsyncedNames) {
      checkpoint_->next = checkpoint_->members.size();
      if (auto synced = files_.sync_all("/data"); !synced) return std::unexpected(synced.error());
      for (auto& [i, checkpointing] : checkpoint_->members) checkpointing.store();
      return true;
    }
    LogCheckpointing& checkpointing = checkpoint_->members[checkpoint_->next++].second;
    if (auto synced = checkpointing.dirty.sync(files_); !synced) return std::unexpected(synced.error());
    checkpointing.store();
    return true;
  }
  void finish_checkpoint() {
    give_back_full();
    for (const auto& [i, checkpointing] : checkpoint_->members) {
      if (!partitions_[i].log->is_offline()) partitions_[i].log->finish_checkpoint(checkpointing);
    }
    checkpoint_.reset();
    // Whoever appends now does so while the index is being flushed.
    (void)index_->flush();
  }

  // One compaction at a time. Each call does a step; false when there is none to do, or no more.
  Result<bool> clean(size_t i, int64_t now_ms, int64_t high_watermark) {
    using State = Compaction::State;
    if (!cleaning_) {
      Log& log = *partitions_[i].log;
      if (log.recovery_point() < high_watermark && !log.is_offline()) return sync_before_cleaning(log);
      const auto range = log.cleanable(now_ms, std::min(high_watermark, log.recovery_point()));
      if (!range) return std::unexpected(range.error());
      if (!*range) return false;
      cleaning_ = std::make_unique<Cleaning>(files_, log.plan_compaction(**range, now_ms), i);
      return true;
    }
    Log& log = *partitions_[cleaning_->partition].log;
    if (cleaning_->swap != Cleaning::Swap::kNone) return continue_swap(log, now_ms);
    if (log.has_changed_since(cleaning_->compaction.plan())) return give_up();
    const auto state = cleaning_->compaction.advance(kCleanBytes);
    if (!state) {
      const bool means_nothing = log.has_changed_since(cleaning_->compaction.plan());
      const Error error = state.error();
      (void)give_up();
      if (means_nothing) return false;
      return std::unexpected(error);
    }
    if (*state == State::kSegmentReady) {
      cleaning_->segment = cleaning_->compaction.take_segment();
      cleaning_->swap = Cleaning::Swap::kReady;
    } else if (*state == State::kDone) {
      auto advanced = log.cleaner_checkpoint()->advance(cleaning_->compaction.end_offset(),
                                                        cleaning_->compaction.plan().version);
      cleaning_.reset();
      if (!advanced) return std::unexpected(advanced.error());
      return false;
    }
    return true;
  }

 private:
  // Small, so that there are many steps.
  static constexpr int64_t kCleanBytes = 1500;
  static constexpr size_t kKeyMemory = size_t{1} << 16;

  struct Cleaning {
    enum class Swap { kNone, kReady, kAnnounced, kSwapped, kPersisted };

    Cleaning(FileSystem& files, CompactionPlan plan, size_t of)
        : partition(of), compaction(files, std::move(plan), kKeyMemory, HashSecret{1, 2}) {}

    size_t partition;
    Compaction compaction;
    CompactedSegment segment;
    Swap swap = Swap::kNone;
  };

  static uint64_t salt_of(int start) { return static_cast<uint64_t>(start) * 0x9e3779b97f4a7c15; }

  void give_back_full() {
    journal_->set_needed_from(checkpoint_->begun_at);
    for (auto& file : std::exchange(checkpoint_->full, {})) {
      if (auto surplus = journal_->reuse(std::move(file))) journals_->give_back(std::move(surplus));
    }
  }

  Result<bool> sync_before_cleaning(Log& log) {
    const auto dirty = log.dirty_files();
    if (!dirty) return std::unexpected(dirty.error());
    if (auto synced = dirty->sync(files_); !synced) return std::unexpected(synced.error());
    log.mark_synced(*dirty);
    return true;
  }

  Result<bool> give_up() {
    if (cleaning_->swap == Cleaning::Swap::kReady || cleaning_->swap == Cleaning::Swap::kAnnounced) {
      partitions_[cleaning_->partition].log->abandon_compaction(cleaning_->segment);
      (void)files_.remove(cleaning_->segment.path);
    }
    cleaning_->compaction.discard();
    cleaning_.reset();
    return false;
  }

  Result<bool> continue_swap(Log& log, int64_t now_ms) {
    using Swap = Cleaning::Swap;
    const CompactionPlan& plan = cleaning_->compaction.plan();
    const CompactedSegment& segment = cleaning_->segment;
    switch (cleaning_->swap) {
      case Swap::kReady: {
        if (!log.may_swap(plan, segment)) return give_up();
        if (auto prepared = log.prepare_swap(segment, now_ms); !prepared) {
          (void)give_up();
          return std::unexpected(prepared.error());
        }
        const auto announced = persist_swap_intent(*index_, *log.cleaner_checkpoint(), plan, segment);
        if (!announced || !*announced) {
          (void)give_up();
          return announced;
        }
        cleaning_->swap = Swap::kAnnounced;
        return true;
      }
      case Swap::kAnnounced: {
        if (!log.may_swap(plan, segment)) return give_up();
        if (const auto swapped = log.swap_in(segment); !swapped) {
          (void)give_up();
          return std::unexpected(swapped.error());
        }
        cleaning_->swap = Swap::kSwapped;
        return true;
      }
      case Swap::kSwapped: {
        const SegmentKey key{log.id(), segment.summary.base_offset};
        if (auto durable = persist_swap(files_, *index_, key, log.directory(), segment); !durable) {
          log.mark_failed(durable.error());
          return std::unexpected(durable.error());
        }
        cleaning_->swap = Swap::kPersisted;
        return true;
      }
      default: {
        const auto finished = log.finish_swap(segment, now_ms);
        cleaning_->swap = Swap::kNone;
        if (!finished) {
          (void)give_up();
          return std::unexpected(finished.error());
        }
        return true;
      }
    }
  }

  FaultFileSystem& files_;
  const Plant plant_;
  const size_t group_bytes_;
  std::unique_ptr<OffsetIndex> index_;
  int starts_ = 0;
  std::unique_ptr<JournalDirectory> journals_;
  std::unique_ptr<Journal> journal_;
  std::vector<SimulatedPartition> partitions_;  // their logs end before the journal
  std::optional<Commit> commit_;
  std::optional<Checkpoint> checkpoint_;
  std::unique_ptr<Cleaning> cleaning_;
};

}  // namespace millrace::storage::test
