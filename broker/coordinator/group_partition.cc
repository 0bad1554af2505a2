#include "broker/coordinator/group_partition.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "broker/coordinator/group_record_codec.h"
#include "broker/coordinator/member_id.h"
#include "broker/runtime/logging.h"
#include "broker/runtime/rate_limited_log.h"
#include "protocol/batch_builder.h"
#include "protocol/record_batch.h"

namespace millrace::coordinator {
namespace {

constexpr size_t kMaxBatchBytes = size_t{100} << 20;
// Commits wait for others up to so much, well below the log's limit for a batch (1 MiB).
constexpr size_t kMaxHeldBytes = 256 << 10;
// Larger ones are rare, and their memory isn't kept for the next.
constexpr size_t kKeptBatchBytes = 2 * kMaxHeldBytes;
constexpr size_t kKeptWrites = 16;

// Where the batches of a shard are made, one after the other, and their records: in memory that is warm.
thread_local protocol::BatchBuilder batch_memory;
thread_local protocol::Writer record_memory;

// One line a second: clients try again and again.
runtime::RateLimitedLog refusals_log(runtime::LogLevel::kWarning, 1);
runtime::RateLimitedLog append_log(runtime::LogLevel::kError, 1);

std::string what_to_do(ErrorCode error, const Write& write) {
  if (error != ErrorCode::kMessageTooLarge && error != ErrorCode::kRecordListTooLarge) return "";
  return fmt::format(
      ". It holds more than one batch may: have the {}, or raise max.message.bytes of __consumer_offsets",
      write.commit ? "client commit fewer positions at once, or less metadata"
                   : "group's members subscribe to fewer topics and send less user data");
}

size_t estimated_bytes(const Write& write) {
  if (write.commit) return estimated_bytes(*write.commit);
  size_t bytes = 0;
  for (const GroupRecord& record : write.records) bytes += estimated_bytes(record);
  return bytes;
}

}  // namespace

// A request whose answer may come later; registered for as long as its coroutine lives.
struct GroupPartition::Waiter final : Ticket {
  explicit Waiter(GroupPartition& partition) : Ticket(partition.next_ticket_++), owner(partition) {
    owner.waiting_.push_back(*this);
  }
  ~Waiter() { owner.waiting_.erase(owner.waiting_.iterator_to(*this)); }
  Waiter(const Waiter&) = delete;

  GroupPartition& owner;
  std::optional<GroupResponse> response;
  std::optional<runtime::Suspension> suspension;
};

GroupPartition::GroupPartition(runtime::Shard& shard, std::string name, const GroupSettings& settings,
                               std::unique_ptr<CoordinatorLog> log, std::shared_ptr<GroupMemory> memory)
    : shard_(shard),
      name_(std::move(name)),
      log_(std::move(log)),
      start_ms_(shard.clock().now_ms()),
      start_ns_(shard.clock().monotonic_ns()),
      machine_(
          settings, [&shard] { return shard.random().uuid(); }, std::move(memory)) {}

int64_t GroupPartition::now_ms() const {
  return start_ms_ + (shard_.clock().monotonic_ns() - start_ns_) / runtime::kNanosPerMs;
}

int64_t GroupPartition::deadline_ns(int64_t deadline_ms) const {
  return start_ns_ + (deadline_ms - start_ms_) * runtime::kNanosPerMs;
}

void GroupPartition::start() {
  ++running_;
  auto run = [self = shared_from_this()]() -> runtime::Task<> {
    co_await self->run();
    --self->running_;
    self->ended_.notify_all();
  };
  shard_.spawn(std::move(run));
}

void GroupPartition::stop(ErrorCode error) {
  if (state_ == State::kStopped) return;
  const bool active = state_ == State::kActive;
  state_ = State::kStopped;
  if (active) process(machine_.unload(error));
  held_.clear();
  appended_.notify_all();
  deadline_changed_.notify_all();
}

runtime::Task<> GroupPartition::ended() {
  const auto self = shared_from_this();
  while (running_ > 0) co_await ended_.wait();
}

runtime::Task<> GroupPartition::run() {
  const int64_t began_ms = now_ms();
  auto loaded = co_await load();
  if (state_ == State::kStopped) co_return;
  if (!loaded) {
    state_ = State::kFailed;
    runtime::log_error("{}: can't coordinate its groups: {}", name_, loaded.error().message);
    co_return;
  }
  if (machine_.group_count() > 0) {
    // A replay leaves holes all over the heap: of values that grew, and of records that others superseded.
    malloc_trim(0);
    runtime::log_info("{}: loaded {} groups in {} ms", name_, machine_.group_count(), now_ms() - began_ms);
  }
  ++running_;
  auto deadlines = [self = shared_from_this()]() -> runtime::Task<> {
    co_await self->deadline_loop();
    --self->running_;
    self->ended_.notify_all();
  };
  shard_.spawn(std::move(deadlines));
  co_await commit_loop();
}

runtime::Task<Result<>> GroupPartition::load() {
  int64_t skipped = 0;
  const BatchReader replay_batch = [this, &skipped](Bytes batch) -> Result<> {
    auto header = protocol::read_batch_header(batch);
    if (!header) return std::unexpected(std::move(header.error()));
    if (header->is_control()) return {};
    Error wrong{ErrorCode::kNone, {}};
    auto replay_record = [&](const protocol::RecordView& record) {
      auto decoded = decode_record(record.key, record.value);
      if (!decoded) {
        wrong = {decoded.error().code,
                 "record at offset " + std::to_string(record.offset) + ": " + decoded.error().message};
        return false;
      }
      *decoded ? machine_.replay(**decoded, record.offset) : static_cast<void>(++skipped);
      return true;
    };
    auto read = protocol::for_each_record(batch, kMaxBatchBytes, replay_record);
    if (wrong.code != ErrorCode::kNone) return std::unexpected(std::move(wrong));
    return read;
  };
  auto end = co_await log_->read_all(replay_batch);
  if (!end) co_return std::unexpected(std::move(end.error()));
  if (state_ == State::kStopped) co_return Result<>();
  if (skipped > 0)
    runtime::log_warning("{}: passed over {} records of unknown kinds of groups", name_, skipped);
  appended_end_ = committed_end_ = *end;
  state_ = State::kActive;
  process(machine_.loaded(*end, now_ms()));
  co_return Result<>();
}

runtime::Task<> GroupPartition::commit_loop() {
  while (state_ == State::kActive) {
    append_held();
    if (committed_end_ == appended_end_) {
      co_await appended_.wait();
      continue;
    }
    const int64_t end = appended_end_;
    auto committed = co_await log_->wait_committed(end);
    if (state_ != State::kActive) co_return;
    if (!committed) co_return fail_log(committed.error());
    committed_end_ = end;
    append_held();
    process(machine_.committed(end, now_ms()));
  }
}

void GroupPartition::fail_log(const Error& error) {
  runtime::log_error("{}: lost its log, coordinates no more: {}", name_, error.message);
  stop();
}

runtime::Task<> GroupPartition::deadline_loop() {
  while (state_ == State::kActive) {
    const auto deadline = machine_.next_deadline();
    armed_deadline_ms_ = deadline.value_or(runtime::kNever);
    co_await deadline_changed_.wait_until(deadline ? deadline_ns(*deadline) : runtime::kNever);
    if (state_ != State::kActive) co_return;
    const auto due = machine_.next_deadline();
    if (!due || *due > now_ms()) continue;
    append_held();
    process(machine_.expire(now_ms()));
  }
}

void GroupPartition::process(Effects effects) {
  if (effects.warning) refusals_log.write(shard_.clock(), "{}: {}", name_, *effects.warning);
  for (Write& write : effects.writes) append({&write, 1});
  for (Answer& answer : effects.answers) {
    const auto found = waiting_.find(answer.ticket);
    if (found == waiting_.end()) continue;  // its client is gone
    auto& waiter = static_cast<Waiter&>(*found);
    waiter.response = std::move(answer.response);
    if (waiter.suspension) waiter.suspension->wake();
  }
  machine_.take_back(std::move(effects));
  const auto deadline = machine_.next_deadline();
  if (deadline && *deadline < armed_deadline_ms_) deadline_changed_.notify_all();
}

void GroupPartition::process_commit(Effects effects) {
  for (Write& write : effects.writes) {
    held_bytes_ += estimated_bytes(write);
    held_.push_back(std::move(write));
  }
  effects.writes.clear();
  process(std::move(effects));
  if (held_bytes_ >= kMaxHeldBytes) append_held();
  appended_.notify_all();
}

void GroupPartition::append_held() {
  if (held_.empty()) return;
  held_bytes_ = 0;
  std::vector<Write> writes = std::exchange(held_, std::move(spare_));
  append(writes);
  writes.clear();
  if (writes.capacity() <= kKeptWrites) spare_ = std::move(writes);
}

// As one batch.
void GroupPartition::append(std::span<Write> writes) {
  const int64_t now = now_ms();
  const int64_t wall_ms = shard_.clock().now_ms();
  auto batch = batch_of(writes, now, wall_ms);
  auto base = batch ? log_->append(*batch, wall_ms) : Result<int64_t>(std::unexpected(batch.error()));
  if (batch_memory.capacity_bytes() > kKeptBatchBytes) batch_memory = protocol::BatchBuilder();
  if (record_memory.capacity_bytes() > kKeptBatchBytes) record_memory = protocol::Writer();
  if (!base && writes.size() > 1) {
    // One that can't be written mustn't take the others with it.
    for (Write& write : writes) append({&write, 1});
    return;
  }
  if (!base) {
    // Of what the disk refuses the log below has told already, once for all.
    if (base.error().code != ErrorCode::kKafkaStorageError) {
      append_log.write(shard_.clock(), "{}: can't append {} records of group {}: {} {}{}", name_,
                       writes.front().record_count(), loggable(writes.front().group()),
                       error_name(base.error().code), base.error().message,
                       what_to_do(base.error().code, writes.front()));
    }
    return process(machine_.failed(writes.front(), base.error().code, now));
  }
  appended_end_ = *base;
  for (Write& write : writes) {
    const int64_t first =
        std::exchange(appended_end_, appended_end_ + static_cast<int64_t>(write.record_count()));
    machine_.appended(std::move(write), first, now);
  }
  appended_.notify_all();
}

// In batch_memory.
Result<MutableBytes> GroupPartition::batch_of(std::span<const Write> writes, int64_t now_ms,
                                              int64_t wall_ms) const {
  // A small request may stand for very much: each of its positions is a record that has the names. What is
  // far too much isn't made only to be refused.
  size_t bytes = 0;
  for (const Write& write : writes) bytes += estimated_bytes(write);
  if (bytes / 2 > log_->max_batch_bytes()) {
    return fail(
        ErrorCode::kMessageTooLarge,
        fmt::format("about {} bytes in one batch, of which {} are allowed", bytes, log_->max_batch_bytes()));
  }
  if (!batch_memory.empty()) batch_memory = protocol::BatchBuilder();  // the one before could not be made
  for (const Write& write : writes) {
    if (write.commit) {
      const auto appended =
          append_records(*write.commit, batch_memory, wall_ms, record_memory, wall_ms - now_ms);
      if (!appended) return std::unexpected(appended.error());
    }
    for (const GroupRecord& record : write.records) {
      record_memory.clear();
      const auto encoded = encode_record(record, record_memory, wall_ms - now_ms);
      if (!encoded) return std::unexpected(encoded.error());
      batch_memory.append(encoded->key, encoded->value, {}, wall_ms);
    }
  }
  return batch_memory.build_in_place();
}

std::optional<GroupResponse> GroupPartition::refusal(const GroupRequest& request) const {
  switch (state_) {
    case State::kActive:
      return std::nullopt;
    case State::kLoading:
      if (std::holds_alternative<Heartbeat>(request)) return HeartbeatResult{};
      return error_response(request, ErrorCode::kCoordinatorLoadInProgress);
    case State::kStopped:
      return error_response(request, ErrorCode::kNotCoordinator);
    case State::kFailed:
      break;
  }
  return error_response(request, ErrorCode::kCoordinatorNotAvailable);
}

void GroupPartition::begin(Waiter& waiter, const GroupRequest& request) {
  if (std::holds_alternative<OffsetCommit>(request))
    return process_commit(machine_.handle(waiter.number, request, now_ms()));
  append_held();
  process(machine_.handle(waiter.number, request, now_ms()));
}

runtime::Task<GroupResponse> GroupPartition::handle(const GroupRequest& request,
                                                    std::function<void()> begun) {
  const auto self = shared_from_this();
  if (auto refused = refusal(request)) co_return std::move(*refused);
  Waiter waiter(*this);
  begin(waiter, request);
  if (!waiter.response) {
    if (begun) begun();
    waiter.suspension.emplace();
    co_await waiter.suspension->wait();
  }
  co_return std::move(*waiter.response);
}

runtime::Task<std::vector<GroupResponse>> GroupPartition::handle_all(
    const std::vector<const GroupRequest*>& requests) {
  const auto self = shared_from_this();
  std::deque<Waiter> waiters;
  for (const GroupRequest* request : requests) {
    Waiter& waiter = waiters.emplace_back(*this);
    waiter.response = refusal(*request);
    if (!waiter.response) begin(waiter, *request);
  }
  std::vector<GroupResponse> responses;
  for (Waiter& waiter : waiters) {
    if (!waiter.response) {
      waiter.suspension.emplace();
      co_await waiter.suspension->wait();
    }
    responses.push_back(std::move(*waiter.response));
  }
  co_return responses;
}

void GroupPartition::topic_deleted(std::string_view topic, const Uuid& topic_id) {
  if (state_ != State::kActive) return;
  append_held();
  process(machine_.topic_deleted(topic, topic_id, now_ms()));
}

}  // namespace millrace::coordinator
