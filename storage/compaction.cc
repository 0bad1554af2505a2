#include "storage/compaction.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "protocol/batch_builder.h"
#include "storage/segment.h"

namespace millrace::storage {
namespace {

using protocol::BatchBuilder;
using protocol::BatchHeader;
using protocol::BatchOptions;
using protocol::Compression;
using protocol::RecordView;

// As much as validate_for_append lets a batch become.
constexpr size_t kDecompressLimit = size_t{64} << 20;
constexpr size_t kWriteBytes = size_t{1} << 20;

// Of the keys there are no more than offsets in the dirty part.
size_t most_keys(const CompactionPlan& plan) {
  if (plan.sources.empty()) return 0;
  return static_cast<size_t>(std::max<int64_t>(plan.sources.back().next_offset - plan.first_dirty_offset, 0));
}

// The batch without its records: it still ends at its last offset and at its last sequence number.
Buffer emptied(const BatchHeader& header) {
  constexpr int16_t kKeptAttributes = 0x38;  // timestamp type, transactional, control
  BatchHeader empty = header;
  empty.attributes = static_cast<int16_t>(header.attributes & kKeptAttributes);
  empty.batch_length = static_cast<int32_t>(BatchHeader::kSize - BatchHeader::kLengthOverhead);
  empty.base_timestamp_ms = protocol::kNoTimestamp;
  empty.record_count = 0;
  Buffer bytes(BatchHeader::kSize);
  protocol::write_batch_header(empty, bytes);
  protocol::update_crc(bytes);
  return bytes;
}

}  // namespace

// The file that is being written.
class Compaction::Output {
 public:
  Output(std::shared_ptr<File> file, const CompactionSource& first, int32_t index_interval_bytes)
      : file_(std::move(file)), index_interval_bytes_(index_interval_bytes) {
    segment_.path = file_->path();
    segment_.summary.base_offset = segment_.summary.next_offset = first.base_offset;
    segment_.summary.synced = true;
  }

  Result<> append(const BatchHeader& header, Bytes batch) {
    if (const auto entry = count_batch(header, index_interval_bytes_, segment_.summary, bytes_since_entry_)) {
      segment_.entries.push_back(*entry);
    }
    buffer_.insert(buffer_.end(), batch.begin(), batch.end());
    return buffer_.size() < kWriteBytes ? Result<>() : flush();
  }
  Result<> append(const Buffer& batch) {
    const auto header = protocol::peek_batch_header(batch);
    ++changes_;
    return header ? append(*header, batch) : std::unexpected(header.error());
  }
  void drop(const BatchHeader& header) {
    last_dropped_ = header;
    ++changes_;
  }

  // Lets the file end at the offset where its sources do, and syncs it.
  Result<> finish() {
    if (ends_with_dropped()) {
      if (auto appended = append(emptied(*last_dropped_)); !appended) return appended;
    }
    if (auto flushed = flush(); !flushed) return flushed;
    return file_->sync_data();
  }

  bool is_changed() const {
    // An empty batch at the end, dropped and put back.
    const int none = ends_with_dropped() && last_dropped_->record_count == 0 ? 1 : 0;
    return changes_ > none || segment_.sources.size() > 1;
  }
  CompactedSegment& segment() { return segment_; }

 private:
  bool ends_with_dropped() const {
    return last_dropped_ && last_dropped_->last_offset() >= segment_.summary.next_offset;
  }
  Result<> flush() {
    if (buffer_.empty()) return {};
    const Bytes pieces[] = {buffer_};
    if (auto written = file_->write_at(pieces, written_); !written) return written;
    written_ += static_cast<int64_t>(buffer_.size());
    buffer_.clear();
    return {};
  }

  const std::shared_ptr<File> file_;
  const int32_t index_interval_bytes_;
  CompactedSegment segment_;
  int64_t bytes_since_entry_ = kEntryDue;
  int64_t written_ = 0;
  Buffer buffer_;
  std::optional<BatchHeader> last_dropped_;
  int64_t changes_ = 0;
};

Compaction::Compaction(FileSystem& files, CompactionPlan plan, size_t memory_bytes, const HashSecret& secret)
    : files_(files),
      plan_(std::move(plan)),
      latest_(most_keys(plan_), memory_bytes, secret),
      end_offset_(plan_.first_dirty_offset) {}

Result<Compaction::State> Compaction::advance(int64_t io_bytes) {
  const auto done_bytes = [&] { return stats_.bytes_read + stats_.bytes_written; };
  const int64_t until = done_bytes() + io_bytes;
  while (state_ == State::kReading || state_ == State::kCopying) {
    if (auto done = state_ == State::kReading ? read_on() : copy_on(); !done)
      return std::unexpected(done.error());
    if (done_bytes() >= until) break;
  }
  return state_;
}

CompactedSegment Compaction::take_segment() {
  CompactedSegment segment = std::move(output_->segment());
  output_ = nullptr;
  state_ = State::kCopying;
  return segment;
}

void Compaction::discard() {
  reading_ = nullptr;
  if (output_) (void)files_.remove(output_->segment().path);
  output_ = nullptr;
  state_ = State::kDone;
}

std::unexpected<Error> Compaction::damage(std::string_view what) const {
  return fail(ErrorCode::kCorruptMessage,
              fmt::format("{} is damaged at byte {} (offset {}): {}. Nothing of it was changed; see with "
                          "`millrace log verify {}` what is sound",
                          plan_.sources[source_].path, reading_->position, reading_->due_offset, what,
                          plan_.directory));
}

Result<> Compaction::open_source() {
  const CompactionSource& source = plan_.sources[source_];
  auto file = files_.open(source.path, OpenMode::kRead);
  if (!file) return std::unexpected(file.error());
  const File& opened = **file;
  reading_ = std::unique_ptr<Reading>(
      new Reading{std::move(*file), ForwardReader(opened, source.size), 0, source.base_offset});
  return {};
}

// The next whole and sound batch of the source; nullopt at its end.
Result<std::optional<Compaction::FoundBatch>> Compaction::next_batch() {
  const CompactionSource& source = plan_.sources[source_];
  Reading& reading = *reading_;
  if (reading.position >= source.size) return std::nullopt;
  const auto start = reading.reader.at(reading.position, BatchHeader::kSize);
  if (!start) return std::unexpected(start.error());
  const auto header = protocol::peek_batch_header(*start);
  if (!header) return damage(header.error().message);
  if (static_cast<int64_t>(header->size_bytes()) > source.size - reading.position)
    return damage("the batch is longer than what is left of the file");
  if (header->base_offset < reading.due_offset)
    return damage(fmt::format("a batch with base offset {}", header->base_offset));
  if (header->last_offset_delta < 0 || header->last_offset() >= source.next_offset)
    return damage(fmt::format("a last offset delta of {}", header->last_offset_delta));
  const auto bytes = reading.reader.at(reading.position, header->size_bytes());
  if (!bytes) return std::unexpected(bytes.error());
  if (bytes->size() < header->size_bytes() || !protocol::crc_matches(*bytes))
    return damage("the batch's CRC isn't that of its contents");
  stats_.bytes_read += static_cast<int64_t>(bytes->size());
  return FoundBatch{*header, *bytes};
}

// The records of a batch, if their offsets are what the header says of them.
Result<> Compaction::for_each_record(const FoundBatch& batch,
                                     const std::function<bool(const RecordView&)>& fn) const {
  int64_t due_offset = batch.header.base_offset;
  std::string wrong;
  const auto walked = protocol::for_each_record(batch.bytes, kDecompressLimit, [&](const RecordView& record) {
    if (record.offset < due_offset || record.offset > batch.header.last_offset()) {
      wrong = fmt::format("a record with offset {} in a batch that ends at {}", record.offset,
                          batch.header.last_offset());
      return false;
    }
    due_offset = record.offset + 1;
    return fn(record);
  });
  if (!walked) return damage(walked.error().message);
  if (!wrong.empty()) return damage(wrong);
  return {};
}

// First pass.

Result<> Compaction::read_on() {
  while (source_ < plan_.sources.size() && plan_.sources[source_].next_offset <= plan_.first_dirty_offset)
    ++source_;
  if (source_ == plan_.sources.size()) {
    begin_copying();
    return {};
  }
  if (!reading_) {
    if (auto opened = open_source(); !opened) return opened;
  }
  const auto batch = next_batch();
  if (!batch) return std::unexpected(batch.error());
  if (*batch) return note_batch(**batch);
  reading_ = nullptr;
  ++source_;
  return {};
}

Result<> Compaction::note_batch(const FoundBatch& batch) {
  const BatchHeader& header = batch.header;
  bool full = false;
  if (!header.is_control() && header.last_offset() >= plan_.first_dirty_offset) {
    const auto walked = for_each_record(batch, [&](const RecordView& record) {
      if (record.offset < plan_.first_dirty_offset || !record.key) return true;
      full = !note_key(*record.key, record.offset);
      if (full) end_offset_ = record.offset;
      return !full;
    });
    if (!walked) return walked;
  }
  if (full) {
    begin_copying();
    return {};
  }
  end_offset_ = std::max(end_offset_, header.last_offset() + 1);
  if (header.has_producer_id()) last_dirty_[header.producer_id] = header.last_offset();
  reading_->position += static_cast<int64_t>(header.size_bytes());
  reading_->due_offset = header.last_offset() + 1;
  return {};
}

bool Compaction::note_key(Bytes key, int64_t offset) { return latest_.put(key, offset); }

void Compaction::begin_copying() {
  reading_ = nullptr;
  source_ = 0;
  state_ = State::kCopying;
}

// Second pass.

Result<> Compaction::copy_on() {
  if (source_ == plan_.sources.size() || plan_.sources[source_].base_offset >= end_offset_) {
    state_ = State::kDone;
    return {};
  }
  if (!reading_) {
    // An empty file would leave nothing by which to know where the segment ends.
    if (!output_ && plan_.sources[source_].size == 0) {
      ++source_;
      return {};
    }
    if (auto opened = open_source(); !opened) return opened;
  }
  if (!output_) {
    if (auto begun = begin_output(); !begun) return begun;
  }
  const auto batch = next_batch();
  if (!batch) return std::unexpected(batch.error());
  if (!*batch) return end_source();
  if (auto copied = copy_batch(**batch); !copied) return copied;
  reading_->position += static_cast<int64_t>((*batch)->header.size_bytes());
  reading_->due_offset = (*batch)->header.last_offset() + 1;
  return {};
}

Result<> Compaction::begin_output() {
  const CompactionSource& source = plan_.sources[source_];
  auto file = files_.open(source.path + std::string(CompactedSegment::kSuffix), OpenMode::kCreate);
  if (!file) return std::unexpected(file.error());
  // One that was given up may be there.
  if (auto cleared = (*file)->truncate(0); !cleared) return cleared;
  output_ = std::make_shared<Output>(std::move(*file), source, plan_.index_interval_bytes);
  return {};
}

Result<> Compaction::end_source() {
  output_->segment().sources.push_back(plan_.sources[source_]);
  stats_.bytes_before += plan_.sources[source_].size;
  reading_ = nullptr;
  ++source_;
  return source_ < plan_.sources.size() && fits_too(plan_.sources[source_]) ? Result<>() : finish_output();
}

// Whether the next source may go to the same file, even if all of it stays.
bool Compaction::fits_too(const CompactionSource& next) const {
  const SegmentSummary& summary = output_->segment().summary;
  return next.base_offset < end_offset_ && summary.size + next.size <= plan_.segment_bytes &&
         next.next_offset - 1 - summary.base_offset <= std::numeric_limits<int32_t>::max();
}

Result<> Compaction::finish_output() {
  CompactedSegment& segment = output_->segment();
  if (!output_->is_changed()) {
    stats_.bytes_after += segment.sources.front().size;
    auto removed = files_.remove(segment.path);
    output_ = nullptr;
    return removed;
  }
  if (auto finished = output_->finish(); !finished) return finished;
  stats_.bytes_after += segment.summary.size;
  state_ = State::kSegmentReady;
  return {};
}

bool Compaction::keeps(const BatchHeader& header, const RecordView& record) const {
  if (record.offset >= end_offset_) return true;
  if (!record.key) return false;
  const auto latest = latest_.find(*record.key);
  if (latest && *latest > record.offset) return false;
  if (record.value) return true;
  return !header.has_delete_horizon() || header.base_timestamp_ms > plan_.now_ms;
}

Result<> Compaction::copy_batch(const FoundBatch& batch) {
  const BatchHeader& header = batch.header;
  const int64_t written_before = output_->segment().summary.size;
  const auto done = [&](Result<> result) {
    stats_.bytes_written += output_->segment().summary.size - written_before;
    return result;
  };
  if (header.is_control() || header.base_offset >= end_offset_)
    return done(output_->append(header, batch.bytes));
  std::vector<bool> kept;
  size_t kept_count = 0;
  bool has_tombstone = false;
  const auto walked = for_each_record(batch, [&](const RecordView& record) {
    kept.push_back(keeps(header, record));
    kept_count += kept.back() ? 1 : 0;
    has_tombstone = has_tombstone || (kept.back() && !record.value);
    return true;
  });
  if (!walked) return walked;
  stats_.records_read += static_cast<int64_t>(kept.size());
  stats_.records_kept += static_cast<int64_t>(kept_count);
  if (kept_count == 0) return done(drop_batch(batch));
  if (kept_count == kept.size() && (!has_tombstone || header.has_delete_horizon()))
    return done(output_->append(header, batch.bytes));
  return done(rewrite(batch, kept, has_tombstone));
}

Result<> Compaction::rewrite(const FoundBatch& batch, const std::vector<bool>& kept, bool has_tombstone) {
  const BatchHeader& header = batch.header;
  BatchOptions options;
  options.base_offset = header.base_offset;
  options.last_offset = header.last_offset();
  options.partition_leader_epoch = header.partition_leader_epoch;
  options.compression = header.compression();
  options.timestamp_type = header.timestamp_type();
  options.log_append_time_ms = header.max_timestamp_ms;
  options.producer_id = header.producer_id;
  options.producer_epoch = header.producer_epoch;
  options.base_sequence = header.base_sequence;
  options.transactional = header.is_transactional();
  if (header.has_delete_horizon()) {
    options.delete_horizon_ms = header.base_timestamp_ms;
  } else if (has_tombstone) {
    options.delete_horizon_ms =
        plan_.now_ms > protocol::kNoTimestamp &&
                plan_.delete_retention_ms > std::numeric_limits<int64_t>::max() - plan_.now_ms
            ? std::numeric_limits<int64_t>::max()
            : plan_.now_ms + plan_.delete_retention_ms;
  }
  BatchBuilder builder(options);
  size_t next = 0;
  const auto walked = for_each_record(batch, [&](const RecordView& record) {
    if (kept[next++]) {
      builder.append_at(record.offset, record.key, record.value, record.headers, record.timestamp_ms);
    }
    return true;
  });
  if (!walked) return walked;
  const auto built = builder.build();
  return built ? output_->append(*built) : std::unexpected(built.error());
}

Result<> Compaction::drop_batch(const FoundBatch& batch) {
  if (!holds_a_producer(batch.header)) {
    output_->drop(batch.header);
    return {};
  }
  if (batch.header.record_count == 0) return output_->append(batch.header, batch.bytes);
  return output_->append(emptied(batch.header));
}

// Whether the batch is the last of an active producer, as far as this compaction can know. Where the
// producer's last batch lies beyond, one that is compacted here is the last again after a crash or a
// truncation.
bool Compaction::holds_a_producer(const BatchHeader& header) const {
  if (!header.has_producer_id()) return false;
  const auto active = plan_.producers.find(header.producer_id);
  if (active == plan_.producers.end()) return false;
  if (const auto last = last_dirty_.find(header.producer_id); last != last_dirty_.end())
    return header.last_offset() >= last->second;
  return active->second >= end_offset_ || header.last_offset() >= active->second;
}

}  // namespace millrace::storage
