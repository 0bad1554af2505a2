#include "broker/replication/partition.h"

#include <fmt/format.h>

#include <algorithm>

#include "broker/replication/commit_loop.h"
#include "broker/replication/read_trouble.h"

namespace millrace::replication {
namespace {

constexpr int32_t kNoEpoch = -1;

}  // namespace

Partition::Partition(std::unique_ptr<storage::Log> log, std::string topic, int32_t leader_epoch,
                     CommitLoop& commit_loop)
    : log_(std::move(log)),
      id_(log_->id()),
      topic_(std::move(topic)),
      leader_epoch_(leader_epoch),
      high_watermark_(log_->log_end_offset()),
      commit_loop_(commit_loop) {}

void Partition::set_leader_epoch(int32_t leader_epoch) {
  if (leader_epoch <= leader_epoch_) return;
  leader_epoch_ = leader_epoch;
  tell_readers();
}

std::expected<storage::AppendInfo, storage::AppendError> Partition::append(MutableBytes records,
                                                                           int64_t now_ms,
                                                                           storage::AppendOrigin origin) {
  if (removed()) return std::unexpected(storage::AppendError(Error{ErrorCode::kNotLeaderOrFollower, {}}));
  auto appended = log_->append_as_leader(records, leader_epoch_, now_ms, origin);
  if (!appended) return appended;
  if (!appended->duplicate) commit_loop_.appended(*this, records.size());
  const int64_t flush_messages = log_->config().flush_messages;
  if (!appended->duplicate) records_since_sync_ += appended->last_offset - appended->base_offset + 1;
  if (records_since_sync_ >= flush_messages) {
    commit_loop_.request_sync(*this);
    records_since_sync_ = 0;
  } else if (records_since_sync_ > 0 && !sync_is_planned_ &&
             log_->config().flush_ms < storage::LogConfig::kNever) {
    sync_is_planned_ = true;
    commit_loop_.request_sync_by(*this,
                                 runtime::Shard::current()->clock().deadline_in_ms(log_->config().flush_ms));
  }
  // A topic that is synced less often than at every append acknowledges from the page cache, as Kafka does.
  // What a duplicate meets may have been appended before that was so.
  if (flush_messages > 1 && !appended->duplicate) advance_high_watermark(log_->log_end_offset());
  return appended;
}

runtime::Task<Result<>> Partition::wait_acknowledged(int64_t end_offset, Acks acks, int64_t deadline_ns) {
  const auto keep_alive = shared_from_this();
  // One replica: what the leader has synced is what all replicas have, so acks=1 and acks=all wait alike.
  while (acks != Acks::kNone && high_watermark_ < end_offset) {
    if (removed()) co_return fail(ErrorCode::kNotLeaderOrFollower);
    const bool in_time = co_await acknowledged_.wait_until(deadline_ns);
    if (!in_time) co_return fail(ErrorCode::kRequestTimedOut);
  }
  co_return Result<>();
}

ErrorCode Partition::check_leader_epoch(int32_t current_leader_epoch) const {
  if (current_leader_epoch < 0 || current_leader_epoch == leader_epoch_) return ErrorCode::kNone;
  return current_leader_epoch < leader_epoch_ ? ErrorCode::kFencedLeaderEpoch
                                              : ErrorCode::kUnknownLeaderEpoch;
}

ReadOutcome Partition::read(const ReadRequest& request, storage::MissingData* missing) {
  if (removed() || request.replica_id >= 0) return {.error = ErrorCode::kNotLeaderOrFollower};
  if (const ErrorCode error = check_leader_epoch(request.current_leader_epoch); error != ErrorCode::kNone) {
    return {.error = error};
  }
  ReadOutcome outcome{.high_watermark = high_watermark_,
                      .last_stable_offset = last_stable_offset(),
                      .log_start_offset = log_->log_start_offset()};
  if (request.last_fetched_epoch >= 0) {
    const auto end = end_offset_of(request.last_fetched_epoch);
    if (end.epoch < 0 || end.end_offset < 0) return {.error = ErrorCode::kOffsetOutOfRange};
    if (end.epoch < request.last_fetched_epoch || end.end_offset < request.fetch_offset) {
      outcome.diverging_epoch = end;
      return outcome;
    }
  }
  if (request.fetch_offset < log_->log_start_offset() || request.fetch_offset > log_->log_end_offset()) {
    return {.error = ErrorCode::kOffsetOutOfRange};
  }
  if (request.fetch_offset >= high_watermark_) return outcome;
  auto slice = log_->read(request.fetch_offset, high_watermark_, request.max_bytes,
                          request.at_least_one_batch, missing);
  if (!slice) {
    if (missing == nullptr || !*missing) note_failed_read(*log_, request.fetch_offset, slice.error());
    return {.error = slice.error().code};
  }
  if (slice->size > 0) outcome.slice = std::move(*slice);
  return outcome;
}

Result<storage::EpochEndOffset> Partition::end_offset_for_epoch(int32_t current_leader_epoch,
                                                                int32_t leader_epoch) const {
  if (removed()) return fail(ErrorCode::kNotLeaderOrFollower);
  if (const ErrorCode error = check_leader_epoch(current_leader_epoch); error != ErrorCode::kNone) {
    return fail(error);
  }
  return end_offset_of(leader_epoch);
}

std::optional<int32_t> Partition::epoch_of(int64_t offset) const {
  if (removed()) return std::nullopt;
  if (const auto epoch = log_->leader_epochs().epoch_of(offset)) return epoch;
  if (offset == log_->log_end_offset()) return leader_epoch_;
  return std::nullopt;
}

// As if the leader's own epoch stood in the log from its end on, where it hasn't appended yet.
storage::EpochEndOffset Partition::end_offset_of(int32_t epoch) const {
  const int64_t end = log_->log_end_offset();
  const storage::LeaderEpochs& epochs = log_->leader_epochs();
  const std::optional<int32_t> latest = epochs.latest_epoch();
  if (epoch == kNoEpoch || epoch > leader_epoch_) return {};
  if (epoch == leader_epoch_ || !latest) return {epoch, end};
  if (epoch >= *latest) return {*latest, end};
  return epochs.end_offset_for(epoch, end);
}

runtime::Task<Result<int64_t>> Partition::delete_records(int64_t before_offset) {
  const auto self = shared_from_this();
  if (removed()) co_return fail(ErrorCode::kNotLeaderOrFollower);
  if (!log_->config().delete_old) {
    co_return fail(
        ErrorCode::kPolicyViolation,
        fmt::format("Records of {}-{} can't be deleted: its cleanup.policy doesn't include delete.", topic_,
                    id().partition));
  }
  const int64_t before = before_offset == -1 ? high_watermark_ : before_offset;
  if (before < 0 || before > high_watermark_) {
    co_return fail(ErrorCode::kOffsetOutOfRange,
                   fmt::format("Cannot delete records of {}-{} before offset {}: the high watermark is {}.",
                               topic_, id().partition, before, high_watermark_));
  }
  const auto deletion = log_->begin_delete_records(before);
  if (!deletion) co_return std::unexpected(deletion.error());
  auto store = [&deletion] { return deletion->store(); };
  const Result<> stored = co_await commit_loop_.disk_pool().run(store);
  if (removed()) co_return fail(ErrorCode::kNotLeaderOrFollower);
  auto start = log_->finish_delete_records(*deletion, stored);
  fetch_waiters_.signal_all();
  co_return start;
}

void Partition::sync_due() {
  sync_is_planned_ = false;
  if (removed() || records_since_sync_ == 0) return;
  commit_loop_.request_sync(*this);
  records_since_sync_ = 0;
}

void Partition::committed(const storage::LogCommit& commit) {
  advance_high_watermark(log_->finish_commit(commit));
}

std::unique_ptr<storage::Log> Partition::remove() {
  auto log = std::move(log_);
  acknowledged_.notify_all();
  fetch_waiters_.signal_all();
  return log;
}

void Partition::advance_high_watermark(int64_t offset) {
  if (offset <= high_watermark_) return;
  high_watermark_ = offset;
  acknowledged_.notify_all();
  fetch_waiters_.signal_all();
}

}  // namespace millrace::replication
