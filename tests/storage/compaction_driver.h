// Runs a compaction of a log as the broker does, step by step, with room for something to happen in between.
#pragma once

#include <functional>
#include <memory>

#include "storage/compaction.h"
#include "storage/log.h"

namespace millrace::storage::test {

struct CompactionDriver {
  FileSystem& files;
  OffsetIndex& index;
  size_t memory_bytes = size_t{1} << 20;
  // Bytes of reading and writing between two steps.
  int64_t step_bytes = 1 << 20;
  // What the log's shard does while the disk pool works.
  std::function<void()> between = [] {};
  // Called when the index has been flushed.
  std::function<void()> intent_persisted = [] {};
  // Whether merges are announced in the checkpoint: not to do so is a fault.
  bool announces = true;
  // Other compactions than the real one, with planted faults.
  std::function<std::unique_ptr<Compaction>(FileSystem&, CompactionPlan, size_t)> make =
      [](FileSystem& file_system, CompactionPlan plan, size_t memory) {
        return std::make_unique<Compaction>(file_system, std::move(plan), memory, HashSecret{1, 2});
      };
  CompactionStats stats = {};
  // Where the last compaction would have ended.
  int64_t end_offset = -1;

  // Whether everything that can be compacted now is. False when there is nothing to do, or when the log
  // changed meanwhile.
  Result<bool> run(Log& log, int64_t now_ms, int64_t high_watermark) {
    const auto range = log.cleanable(now_ms, high_watermark);
    if (!range) return std::unexpected(range.error());
    if (!*range) return false;
    if ((*range)->end_offset > log.recovery_point()) {
      if (auto flushed = log.flush(); !flushed) return std::unexpected(flushed.error());
    }
    const auto compaction = make(files, log.plan_compaction(**range, now_ms), memory_bytes);
    auto done = run(log, *compaction, now_ms);
    if (!done || !*done) compaction->discard();
    return done;
  }

 private:
  Result<bool> run(Log& log, Compaction& compaction, int64_t now_ms) {
    while (true) {
      const auto state = compaction.advance(step_bytes);
      if (!state && log.has_changed_since(compaction.plan())) return false;
      if (!state) return std::unexpected(state.error());
      end_offset = compaction.end_offset();
      stats = compaction.stats();
      between();
      if (*state == Compaction::State::kDone) break;
      if (*state != Compaction::State::kSegmentReady) continue;
      const CompactedSegment segment = compaction.take_segment();
      const auto swapped = swap(log, compaction.plan(), segment, now_ms);
      if (!swapped || !*swapped) return swapped;
    }
    return log.cleaner_checkpoint()->advance(compaction.end_offset(), compaction.plan().version);
  }

  Result<bool> swap(Log& log, const CompactionPlan& plan, const CompactedSegment& segment, int64_t now_ms) {
    if (!log.may_swap(plan, segment)) return given_up(log, segment);
    if (auto prepared = log.prepare_swap(segment, now_ms); !prepared) {
      (void)given_up(log, segment);
      return std::unexpected(prepared.error());
    }
    const auto announced =
        announces ? persist_swap_intent(index, *log.cleaner_checkpoint(), plan, segment) : Result<bool>(true);
    if (announced) intent_persisted();
    between();
    if (!announced) {
      (void)given_up(log, segment);
      return announced;
    }
    if (!*announced || !log.may_swap(plan, segment)) return given_up(log, segment);
    if (auto swapped = log.swap_in(segment); !swapped) return std::unexpected(swapped.error());
    between();
    const SegmentKey key{log.id(), segment.summary.base_offset};
    if (auto durable = persist_swap(files, index, key, log.directory(), segment); !durable)
      return std::unexpected(durable.error());
    between();
    if (auto finished = log.finish_swap(segment, now_ms); !finished) return std::unexpected(finished.error());
    return true;
  }

  Result<bool> given_up(Log& log, const CompactedSegment& segment) {
    log.abandon_compaction(segment);
    if (auto removed = files.remove(segment.path); !removed) return std::unexpected(removed.error());
    return false;
  }
};

}  // namespace millrace::storage::test
