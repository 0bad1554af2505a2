#include "tools/client/consumer.h"

#include <fmt/format.h>

namespace millrace::tools {
namespace {

// A batch is at most as large as a topic's max.message.bytes, compressed; this is what may come out of one.
constexpr size_t kDecompressLimit = 1u << 30;
// With this many responses of a partition unread, no more is asked for.
constexpr size_t kMostPending = 2;
// The key of a control record: version, type (0 aborts a transaction).
constexpr size_t kControlKeySize = 4;

bool is_abort_marker(const protocol::RecordView& record) {
  return record.key && record.key->size() >= kControlKeySize && (*record.key)[2] == std::byte{0} &&
         (*record.key)[3] == std::byte{0};
}

}  // namespace

Consumer::Consumer(Cluster& cluster, TopicInfo topic, FetchOptions options,
                   const std::vector<ConsumeRange>& ranges, OnNote on_note)
    : fetcher_(cluster, topic, options),
      topic_(topic.name),
      isolation_(options.isolation),
      on_note_(std::move(on_note)) {
  for (const ConsumeRange& range : ranges) add(range);
}

void Consumer::add(const ConsumeRange& range) {
  PartitionState& state = partitions_[range.partition];
  state.next = range.from;
  state.to = range.to;
  state.done = range.to && range.from >= *range.to;
  if (!state.done) fetcher_.seek(range.partition, range.from);
}

void Consumer::remove(int32_t partition) {
  partitions_.erase(partition);
  fetcher_.remove(partition);
}

bool Consumer::finished() const {
  for (const auto& [number, state] : partitions_) {
    if (!state.done) return false;
  }
  return true;
}

int64_t Consumer::position(int32_t partition) const {
  const auto found = partitions_.find(partition);
  return found == partitions_.end() ? -1 : found->second.next;
}

void Consumer::finish(int32_t partition, PartitionState& state) {
  state.done = true;
  state.batch.reset();
  state.pending.clear();
  fetcher_.remove(partition);
}

Result<const ConsumedRecord*> Consumer::next(int64_t wait_ms) {
  const Deadline deadline = Deadline::after_ms(wait_ms);
  while (true) {
    bool complete = true;
    for (auto& [number, state] : partitions_) {
      if (state.done) continue;
      if (Result<void> advanced = advance(number, state); !advanced) return std::unexpected(advanced.error());
      // A partition that isn't read to its end may yet have an older record.
      if (!state.done && !has_record(state) && !state.caught_up) complete = false;
    }
    if (complete) {
      if (PartitionState* state = pick()) {
        const DecodedRecord& record = state->batch->records[state->batch->at++];
        state->next = record.offset + 1;
        current_.offset = record.offset;
        current_.timestamp_ms = record.timestamp_ms;
        current_.log_append_time = state->batch->log_append_time;
        current_.key = record.key;
        current_.value = record.value;
        current_.headers = record.headers;
        return &current_;
      }
      if (finished()) {
        if (ended_early_.empty()) return nullptr;
        return std::unexpected(unread());
      }
    }
    Result<std::vector<FetchedData>> fetched = fetcher_.poll(deadline.left_ms());
    if (!fetched) return std::unexpected(fetched.error());
    for (FetchedData& data : *fetched) {
      if (Result<void> taken = take(std::move(data)); !taken) return std::unexpected(taken.error());
    }
    if (fetched->empty() && deadline.passed()) return nullptr;
  }
}

Consumer::PartitionState* Consumer::pick() {
  PartitionState* best = nullptr;
  for (auto& [number, state] : partitions_) {
    if (state.done || !has_record(state)) continue;
    const int64_t timestamp_ms = state.batch->records[state.batch->at].timestamp_ms;
    if (best != nullptr && best->batch->records[best->batch->at].timestamp_ms <= timestamp_ms) continue;
    best = &state;
    current_.partition = number;
  }
  current_.topic = topic_;
  return best;
}

Result<void> Consumer::advance(int32_t partition, PartitionState& state) {
  while (!has_record(state)) {
    if (state.to && state.next >= *state.to) {
      finish(partition, state);
      return {};
    }
    if (state.pending.empty()) return {};
    if (Result<void> decoded = decode_next(partition, state); !decoded) return decoded;
  }
  if (state.to && state.batch->records[state.batch->at].offset >= *state.to) finish(partition, state);
  return {};
}

Result<bool> Consumer::skip_batch(PartitionState& state, PendingData& pending,
                                  const protocol::BatchHeader& header, Bytes batch) {
  if (isolation_ != Isolation::kReadCommitted) return header.is_control();
  std::erase_if(pending.data.aborted, [&](const AbortedTransaction& aborted) {
    if (aborted.first_offset > header.last_offset()) return false;
    state.aborted.insert(aborted.producer_id);
    return true;
  });
  if (!header.is_control()) return header.is_transactional() && state.aborted.contains(header.producer_id);
  bool aborts = false;
  const Result<void> read =
      protocol::for_each_record(batch, kDecompressLimit, [&](const protocol::RecordView& record) {
        aborts = is_abort_marker(record);
        return false;
      });
  if (!read) return std::unexpected(read.error());
  if (aborts) state.aborted.erase(header.producer_id);
  return true;
}

Result<void> Consumer::decode_next(int32_t partition, PartitionState& state) {
  PendingData& pending = state.pending.front();
  const auto done_with_data = [&] {
    state.next = std::max(state.next, pending.data.next_offset);
    state.pending.pop_front();
    fetcher_.pause(partition, false);
  };
  if (pending.rest.empty()) {
    done_with_data();
    return {};
  }
  const auto damaged = [&](const Error& error, int64_t offset) {
    return fail(error.code, fmt::format("{} partition {}, batch at offset {}: {} ({})", topic_, partition,
                                        offset, error.message, error_name(error.code)));
  };
  Result<protocol::BatchHeader> header = protocol::read_batch_header(pending.rest);
  if (!header) return damaged(header.error(), state.next);
  const Bytes bytes = pending.rest.first(header->size_bytes());
  pending.rest = pending.rest.subspan(header->size_bytes());
  if (!protocol::crc_matches(bytes)) {
    return damaged({ErrorCode::kCorruptMessage, "its checksum doesn't match its contents"},
                   header->base_offset);
  }
  Result<bool> skip = skip_batch(state, pending, *header, bytes);
  if (!skip) return damaged(skip.error(), header->base_offset);
  if (*skip || header->last_offset() < state.next) {
    state.next = std::max(state.next, header->last_offset() + 1);
    return {};
  }
  DecodedBatch& batch = state.batch.emplace();
  batch.frame = pending.data.frame;
  batch.log_append_time = header->timestamp_type() == protocol::TimestampType::kLogAppendTime;
  batch.records.reserve(static_cast<size_t>(std::max(header->record_count, 0)));
  const bool copy = header->compression() != protocol::Compression::kNone;
  const auto keep = [&](Bytes view) { return as_text(copy ? batch.arena.copy(view) : view); };
  const Result<void> read =
      protocol::for_each_record(bytes, kDecompressLimit, [&](const protocol::RecordView& record) {
        if (record.offset < state.next) return true;
        DecodedRecord& kept = batch.records.emplace_back();
        kept.offset = record.offset;
        kept.timestamp_ms = record.timestamp_ms;
        if (record.key) kept.key = keep(*record.key);
        if (record.value) kept.value = keep(*record.value);
        for (const protocol::RecordHeader& from : record.headers) {
          HeaderView& to = kept.headers.emplace_back();
          to.name = keep(as_bytes(from.key));
          if (from.value) to.value = keep(*from.value);
        }
        return true;
      });
  if (!read) return damaged(read.error(), header->base_offset);
  // Compaction may have taken the last records of the batch.
  if (batch.records.empty()) state.next = std::max(state.next, header->last_offset() + 1);
  return {};
}

Result<void> Consumer::take(FetchedData data) {
  const auto found = partitions_.find(data.partition);
  if (found == partitions_.end() || found->second.done) return {};
  PartitionState& state = found->second;
  if (data.error == ErrorCode::kOffsetOutOfRange) return out_of_range(data, state);
  if (data.error == ErrorCode::kCorruptMessage) {
    end_before_damage(data, state);
    return {};
  }
  if (state.to && is_retriable(data.error)) {
    give_up(data, state);
    return {};
  }
  if (data.error != ErrorCode::kNone) {
    return fail(data.error, fmt::format("{} partition {}, offset {}: {}", topic_, data.partition,
                                        data.fetch_offset, error_name(data.error)));
  }
  state.caught_up = data.next_offset >= data.end_offset;
  if (data.records.empty() && data.next_offset == data.fetch_offset) return {};
  PendingData& pending = state.pending.emplace_back(PendingData{std::move(data), {}});
  pending.rest = pending.data.records;
  if (state.pending.size() >= kMostPending) fetcher_.pause(pending.data.partition, true);
  return {};
}

// What came before it is still to be returned.
void Consumer::end_early(const FetchedData& data, PartitionState& state) {
  ended_early_.emplace(data.partition, data.error);
  fetcher_.remove(data.partition);
  state.to = data.fetch_offset;
}

Error Consumer::unread() const {
  std::vector<int32_t> damaged;
  std::string what;
  Error error{ErrorCode::kCorruptMessage, {}};
  for (const auto& [partition, code] : ended_early_) {
    if (code == ErrorCode::kCorruptMessage) {
      damaged.push_back(partition);
      continue;
    }
    what += fmt::format("{}partition {} can't be read ({})", what.empty() ? "" : ", ", partition,
                        error_name(code));
    error.code = code;
  }
  if (!damaged.empty()) {
    what += fmt::format("{}records of partition {} are damaged", what.empty() ? "" : ", ",
                        fmt::join(damaged, ", "));
  }
  error.message = fmt::format("{}: {}; not all could be read", topic_, what);
  return error;
}

// Others would wait for it for ever, since it isn't read to its end.
void Consumer::give_up(const FetchedData& data, PartitionState& state) {
  on_note_(
      fmt::format("{} partition {}: nothing could be read from offset {} on before the timeout ({}). The "
                  "broker's log says why",
                  topic_, data.partition, data.fetch_offset, error_name(data.error)));
  end_early(data, state);
}

void Consumer::end_before_damage(const FetchedData& data, PartitionState& state) {
  on_note_(
      fmt::format("{0} partition {1}: the broker can't read the records from offset {2} on, because they are "
                  "damaged on its "
                  "disk ({3}). Its log says which offsets are, and so does there: millrace log verify "
                  "DATA_DIRECTORY/topics/"
                  "{0}-{1}. To read on behind them: millrace consume {0} -p {1} -o OFFSET",
                  topic_, data.partition, data.fetch_offset, error_name(data.error)));
  end_early(data, state);
}

Result<void> Consumer::out_of_range(const FetchedData& data, PartitionState& state) {
  if (data.log_start_offset > data.fetch_offset) {
    on_note_(fmt::format("{} partition {}: offsets {} to {} are gone; going on at {}", topic_, data.partition,
                         data.fetch_offset, data.log_start_offset - 1, data.log_start_offset));
    state.next = data.log_start_offset;
    fetcher_.seek(data.partition, data.log_start_offset);
    return {};
  }
  return fail(data.error, fmt::format("{} partition {}: offset {} is out of range (the log ends at {})",
                                      topic_, data.partition, data.fetch_offset, data.end_offset));
}

}  // namespace millrace::tools
