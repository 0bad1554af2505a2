#include "storage/log_loss.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/log.h"

namespace millrace::storage {
namespace {

// Whether retention was removing the segment that holds the log's start. What it removed before, and what
// compaction merged into others, waits to be removed, too, and tells nothing.
bool is_start_deleted(const LogTraces& traces) {
  const auto may_hold_it = [&](int64_t base_offset) { return base_offset <= traces.log_start_offset(); };
  return std::ranges::any_of(traces.deleted, may_hold_it);
}

// Whether each segment from the log's start on has its file, or one that waits to be removed: by a checkpoint
// that tells more than those of before, or where there was none yet.
bool is_start_known(const LogTraces& traces) {
  return traces.checkpoint ? traces.checkpoint->is_start_exact : traces.never_checkpointed;
}

bool is_start_lost(const LogTraces& traces) {
  if (!is_start_known(traces) || traces.found.empty()) return false;
  const int64_t first = traces.found.front().base_offset;
  // After a clean stop the index knows: a broker of before this checkpoint deletes segments and leaves it be.
  const auto is_below = [&](const SegmentSummary& summary) { return summary.base_offset < first; };
  if (traces.clean_shutdown && !traces.summaries.empty() && std::ranges::none_of(traces.summaries, is_below))
    return false;
  return first > traces.log_start_offset() && !is_start_deleted(traces);
}

std::string first_is_missing(const LogTraces& traces) {
  const int64_t last = traces.found.front().base_offset - 1;
  if (traces.never_checkpointed) {
    return fmt::format(
        "is the first segment: offsets 0 to {} were in segment files that are missing, or {} "
        "is, which would say that the log begins here",
        last, LogCheckpoint::kFileName);
  }
  return fmt::format(
      "is the first segment, but the log starts at offset {}: offsets {} to {} were in segment "
      "files that are missing",
      traces.log_start_offset(), traces.log_start_offset(), last);
}

}  // namespace

std::string LogTraces::path_of(int64_t base_offset) const {
  return directory + "/" + Segment::file_name(base_offset);
}

std::vector<Loss> lost_segments(const LogTraces& traces) {
  std::vector<Loss> losses;
  const bool start_is_lost = is_start_lost(traces);
  // Without, the index may still know after a kill what retention has removed.
  const bool must_have_all = is_start_known(traces) || traces.clean_shutdown;
  bool knows_first = false;
  for (const SegmentSummary& summary : traces.summaries) {
    if (!summary.synced || summary.size == 0 || summary.next_offset <= traces.log_start_offset()) continue;
    const auto segment = std::ranges::find(traces.found, summary.base_offset, &FoundSegment::base_offset);
    const std::string path = traces.path_of(summary.base_offset);
    if (segment != traces.found.end()) {
      if (segment->size >= summary.size) continue;
      losses.push_back({path, segment->size, summary.base_offset,
                        fmt::format("has {} bytes, although {} were synced (up to offset {})", segment->size,
                                    summary.size, summary.next_offset)});
      continue;
    }
    const bool is_before_all =
        !traces.found.empty() && summary.base_offset < traces.found.front().base_offset;
    if (is_before_all && !must_have_all) continue;
    knows_first = knows_first || is_before_all;
    losses.push_back({path, 0, summary.base_offset,
                      fmt::format("is missing, although it was synced (offsets {} to {})",
                                  summary.base_offset, summary.next_offset - 1)});
  }
  if (start_is_lost && !knows_first) {
    const int64_t first = traces.found.front().base_offset;
    losses.insert(losses.begin(),
                  {traces.path_of(first), 0, traces.log_start_offset(), first_is_missing(traces)});
  }
  return losses;
}

Hole hole_before(const LogTraces& traces, const FoundSegment& next, int64_t end_offset) {
  if (end_offset >= next.base_offset || next.base_offset - end_offset > OffsetChain::kFurthest)
    return Hole::kNone;
  // The kernel may write a new segment's pages, or its name, before those of the one before it.
  if (next.base_offset > traces.recovery_point()) return Hole::kUnsynced;
  if (next.base_offset <= traces.log_start_offset()) return Hole::kNone;
  return std::ranges::find(traces.deleted, end_offset) != traces.deleted.end() ? Hole::kDeleted : Hole::kLost;
}

Loss lost_between(const LogTraces& traces, const FoundSegment& next, int64_t end_offset) {
  return {
      traces.path_of(next.base_offset), 0, end_offset,
      fmt::format("begins at offset {}, but the segment before it ends at offset {}: offsets {} to {} were "
                  "synced, and are missing, since a segment file was removed or cut off",
                  next.base_offset, end_offset, end_offset, next.base_offset - 1)};
}

std::optional<Loss> lost_end(const LogTraces& traces, int64_t end_offset) {
  if (traces.recovery_point() <= std::max(end_offset, traces.log_start_offset())) return std::nullopt;
  return Loss{traces.found.empty() ? traces.directory : traces.path_of(traces.found.back().base_offset),
              traces.found.empty() ? 0 : traces.found.back().size, end_offset,
              fmt::format("ends at offset {}, although it was synced up to offset {}: segment files are "
                          "missing or cut off",
                          end_offset, traces.recovery_point())};
}

std::optional<Loss> lost_before_journal(const LogTraces& traces, std::span<const JournaledBatch> journaled,
                                        const JournalPosition& floor, int64_t end_offset) {
  for (const JournaledBatch& batch : journaled) {
    if (batch.position < floor || batch.log_end_offset < end_offset) continue;
    // What lies below the log's start may be gone.
    if (batch.log_end_offset > std::max(end_offset, traces.log_start_offset())) {
      return Loss{traces.found.empty() ? traces.directory : traces.path_of(traces.found.back().base_offset),
                  traces.found.empty() ? 0 : traces.found.back().size, end_offset,
                  fmt::format("ends at offset {}, but records up to {} were acknowledged: a segment file was "
                              "damaged or cut off",
                              end_offset, batch.log_end_offset)};
    }
    end_offset = batch.next_offset;
  }
  return std::nullopt;
}

Buffer batch_without_records(int64_t first_offset, int64_t end_offset) {
  protocol::BatchHeader header;
  header.base_offset = first_offset;
  header.last_offset_delta = static_cast<int32_t>(end_offset - 1 - first_offset);
  header.batch_length =
      static_cast<int32_t>(protocol::BatchHeader::kSize - protocol::BatchHeader::kLengthOverhead);
  Buffer bytes(protocol::BatchHeader::kSize);
  protocol::write_batch_header(header, bytes);
  protocol::update_crc(bytes);
  return bytes;
}

// The part of Log that leaves it to a person what is to become of a loss.

Result<> Log::load_acceptance(RecoveryReport& report) {
  const auto accepted = files_.exists(fmt::format("{}/{}", options_.directory, kAcceptLossFile));
  if (!accepted) return std::unexpected(accepted.error());
  loss_accepted_ = *accepted;
  if (!loss_accepted_) return {};
  options_.journaled = {};
  report.notes.push_back(
      fmt::format("{} goes on with what is there, as {} in its directory says", name_, kAcceptLossFile));
  return {};
}

// Once all is as it is to be from now on.
Result<> Log::end_acceptance() {
  if (!std::exchange(loss_accepted_, false)) return {};
  if (options_.journal != nullptr) journal_floor_ = options_.journal->next_position();
  if (auto stored = store_checkpoint(); !stored) return stored;
  if (auto removed = files_.remove(fmt::format("{}/{}", options_.directory, kAcceptLossFile)); !removed)
    return removed;
  return files_.sync_directory(options_.directory);
}

std::unexpected<Error> Log::loss(const std::string& what) const {
  return fail(
      ErrorCode::kKafkaStorageError,
      fmt::format("{}. Nothing was changed. Restore what is missing, or see with `millrace log verify "
                  "{}` what is sound; to go on with that, create the file {}/{}",
                  what, options_.directory, options_.directory, kAcceptLossFile));
}

Result<> Log::check_segments(const LogTraces& traces) {
  if (loss_accepted_) return {};
  const auto losses = lost_segments(traces);
  if (losses.empty()) return {};
  // The next start isn't one after a clean stop, and must know it, too.
  if (traces.clean_shutdown && traces.checkpoint && !traces.checkpoint->is_start_exact) {
    LogCheckpoint exact = *traces.checkpoint;
    int64_t first = traces.summaries.front().base_offset;
    if (!traces.found.empty()) first = std::min(first, traces.found.front().base_offset);
    exact.log_start_offset = std::max(exact.log_start_offset, first);
    if (auto stored = storage::store_checkpoint(files_, options_.directory, exact); !stored) return stored;
  }
  return loss(losses.front().text());
}

// Where the index is lost, too.
Result<> Log::check_end(const LogTraces& traces, int64_t end_offset) const {
  if (loss_accepted_) return {};
  const auto lost = lost_end(traces, end_offset);
  return lost ? loss(lost->text()) : Result<>();
}

// Whether the journal's batches follow a log that ends at `end_offset`. Asked before anything is cut off.
Result<> Log::check_journal_joins(int64_t end_offset) const {
  LogTraces traces;
  traces.directory = options_.directory;
  traces.checkpoint = LogCheckpoint{log_start_offset_, 0, journal_floor_};
  if (!segments_.empty())
    traces.found.push_back({segments_.active().base_offset(), segments_.active().size()});
  const auto lost = lost_before_journal(traces, options_.journaled, journal_floor_, end_offset);
  return lost ? loss(lost->text()) : Result<>();
}

// Puts a batch without records in the place of what is accepted to be lost, so that later starts find no
// hole. In a file of its own: the others stay as they are.
Result<> Log::bridge(int64_t end_offset, int64_t next_base, RecoveryReport& report) {
  if (segments_.active().base_offset() == end_offset) (void)segments_.take_active();
  const Buffer batch = batch_without_records(end_offset, next_base);
  const FoundSegment made{end_offset, static_cast<int64_t>(batch.size())};
  if (auto stored = replace_file(files_, path_of(made), batch); !stored) return stored;
  report.notes.push_back(
      fmt::format("{}: a batch without records stands for offsets {} to {}, which are lost", path_of(made),
                  end_offset, next_base - 1));
  bool cut = false;
  return load_segment(made, next_base, {}, report, cut);
}

}  // namespace millrace::storage
