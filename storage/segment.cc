#include "storage/segment.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace millrace::storage {
namespace {

constexpr size_t kOffsetDigits = 20;

}  // namespace

std::optional<IndexEntry> count_batch(const protocol::BatchHeader& header, int32_t index_interval_bytes,
                                      SegmentSummary& summary, int64_t& bytes_since_entry) {
  std::optional<IndexEntry> entry;
  if (bytes_since_entry > index_interval_bytes) {
    entry = IndexEntry{header.base_offset, summary.size, summary.max_timestamp_ms};
    bytes_since_entry = 0;
  }
  const auto bytes = static_cast<int64_t>(header.size_bytes());
  bytes_since_entry += bytes;
  if (summary.size == 0) summary.first_timestamp_ms = header.max_timestamp_ms;
  // A batch that compaction has emptied keeps its timestamp, but has no record to be found by it.
  if (header.record_count > 0 && header.max_timestamp_ms > summary.max_timestamp_ms) {
    summary.max_timestamp_ms = header.max_timestamp_ms;
    summary.max_timestamp_offset = header.base_offset;
  }
  summary.size += bytes;
  summary.next_offset = header.last_offset() + 1;
  return entry;
}

Segment::Segment(FileSystem& files, OffsetIndex& index, SegmentKey key, std::string path, int64_t now_ms)
    : files_(files), index_(index), key_(key), path_(std::move(path)), created_ms_(now_ms) {
  summary_.base_offset = summary_.next_offset = key.base_offset;
}

std::string Segment::file_name(int64_t base_offset) { return fmt::format("{:020}{}", base_offset, kSuffix); }

std::optional<int64_t> Segment::base_offset_of(std::string_view file_name) {
  if (file_name.size() != kOffsetDigits + kSuffix.size() || !file_name.ends_with(kSuffix))
    return std::nullopt;
  int64_t offset = 0;
  const char* end = file_name.data() + kOffsetDigits;
  const auto parsed = std::from_chars(file_name.data(), end, offset);
  if (parsed.ec != std::errc() || parsed.ptr != end || offset < 0) return std::nullopt;
  return offset;
}

Result<std::shared_ptr<File>> Segment::file() const {
  if (!file_) {
    auto opened = files_.open(path_, OpenMode::kReadWrite);
    if (!opened) return opened;
    file_ = std::move(*opened);
  }
  return file_;
}

Result<> Segment::append(const protocol::BatchHeader& header, Bytes batch, int64_t now_ms,
                         int32_t index_interval_bytes) {
  const auto file = this->file();
  if (!file) return std::unexpected(file.error());
  const Bytes pieces[] = {batch};
  if (const auto written = (*file)->write_at(pieces, size()); !written) {
    // A part of the batch may be there; a later batch must not stand behind it.
    if (const auto cut = (*file)->truncate(size()); !cut) {
      torn_ = true;
      return fail(ErrorCode::kKafkaStorageError,
                  written.error().message + "; and then: " + cut.error().message);
    }
    return written;
  }
  if (sealed_) {
    // A failure leaves a summary of another size than the file's, which the next start doesn't believe.
    (void)index_.remove_summary(key_);
    sealed_ = false;
  }
  if (size() == 0) created_ms_ = now_ms;
  last_append_ms_ = now_ms;
  adopted_ = false;
  note_batch(header, index_interval_bytes);
  known().note_append(next_offset(), size());
  return {};
}

void Segment::note_batch(const protocol::BatchHeader& header, int32_t index_interval_bytes) {
  const auto entry = count_batch(header, index_interval_bytes, summary_, bytes_since_entry_);
  if (!entry) return;
  if (entries_.size() == kBlockEntries) {
    // Entries that the index doesn't take make lookups longer, nothing else.
    (void)index_.add_block(key_, entries_);
    entries_.clear();
  }
  entries_.push_back(*entry);
}

void Segment::adopt(const SegmentSummary& summary) {
  summary_ = summary;
  known_.reset();
  sealed_ = adopted_ = true;
  bytes_since_entry_ = kEntryDue;
}

void Segment::adopt_compacted(const SegmentSummary& summary, std::vector<IndexEntry> entries) {
  summary_ = summary;
  entries_ = std::move(entries);
  known_.reset();
  sealed_ = adopted_ = false;
}

void Segment::forget_batches() {
  (void)index_.remove_segment(key_);
  sealed_ = adopted_ = false;
  known_.reset();
  entries_.clear();
  bytes_since_entry_ = kEntryDue;
  summary_ = SegmentSummary{};
  summary_.base_offset = summary_.next_offset = key_.base_offset;
}

void Segment::seal(bool synced) {
  if (sealed_ && summary_.synced == synced) return;
  summary_.synced = synced;
  if (!index_.seal(key_, entries_, summary_)) return;  // the next start scans this segment
  sealed_ = true;
  entries_.clear();
  entries_.shrink_to_fit();
  bytes_since_entry_ = kEntryDue;
}

void Segment::seal_stored() {
  entries_.clear();
  sealed_ = false;
  seal(true);
}

void Segment::unseal() {
  (void)index_.remove_summary(key_);
  sealed_ = false;
}

}  // namespace millrace::storage
