// The part of Log that notices, when it is opened, that something is missing that was durable, and leaves it
// to a person what is to become of it.
#include <fmt/format.h>

#include <algorithm>

#include "storage/log.h"

namespace millrace::storage {
namespace {

// Made by a person in a partition's directory, for one start.
constexpr std::string_view kAcceptLossFile = "accept-loss";

}  // namespace

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
  if (journal_ != nullptr) journal_floor_ = journal_->next_position();
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

// By the index, which has no word for a segment that is being truncated or merged, whatever a crash leaves of
// that (leave_journal_behind, persist_swap_intent). What retention removed begins before all that is there.
Result<> Log::check_synced_segments(const std::vector<SegmentSummary>& summaries,
                                    const std::vector<FoundSegment>& found) const {
  if (loss_accepted_) return {};
  for (const SegmentSummary& summary : summaries) {
    if (!summary.synced || summary.size == 0) continue;
    const auto segment = std::find_if(found.begin(), found.end(), [&](const FoundSegment& candidate) {
      return candidate.base_offset == summary.base_offset;
    });
    const std::string path = path_of({summary.base_offset, 0});
    if (segment != found.end() && segment->size < summary.size) {
      return loss(fmt::format("{} has {} bytes, although {} were synced (up to offset {})", path,
                              segment->size, summary.size, summary.next_offset));
    }
    if (segment == found.end() && (found.empty() || summary.base_offset > found.front().base_offset)) {
      return loss(fmt::format("{} is missing, although it was synced (offsets {} to {})", path,
                              summary.base_offset, summary.next_offset - 1));
    }
  }
  return {};
}

// Where the index is lost, too.
Result<> Log::check_end(int64_t end_offset) const {
  if (loss_accepted_ || checkpointed_recovery_point_ <= end_offset) return {};
  return loss(
      fmt::format("{} ends at offset {}, although it was synced up to offset {}: segment files are "
                  "missing or cut off",
                  name_, end_offset, checkpointed_recovery_point_));
}

// Whether the journal's batches follow a log that ends at `end_offset`. Asked before anything is cut off.
Result<> Log::check_journal_joins(int64_t end_offset) const {
  for (const JournaledBatch& journaled : options_.journaled) {
    if (journaled.position < journal_floor_ || journaled.log_end_offset < end_offset) continue;
    if (journaled.log_end_offset > end_offset) {
      return loss(
          fmt::format("{} ends at offset {}, but records up to {} were acknowledged: a segment file "
                      "was damaged or cut off",
                      name_, end_offset, journaled.log_end_offset));
    }
    const auto header = protocol::read_batch_header(journaled.batch);
    if (!header) return std::unexpected(header.error());
    end_offset = header->last_offset() + 1;
  }
  return {};
}

}  // namespace millrace::storage
