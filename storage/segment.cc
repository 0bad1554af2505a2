#include "storage/segment.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

namespace millrace::storage {
namespace {

constexpr int64_t kEntryDue = std::numeric_limits<int32_t>::max();
constexpr size_t kOffsetDigits = 20;

}  // namespace

Segment::Segment(FileSystem& files, OffsetIndex& index, SegmentKey key, std::string path, int64_t now_ms)
    : files_(files),
      index_(index),
      key_(key),
      path_(std::move(path)),
      created_ms_(now_ms),
      bytes_since_entry_(kEntryDue) {
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
  if (bytes_since_entry_ > index_interval_bytes) {
    if (entries_.size() == kBlockEntries) {
      // Entries that the index doesn't take make lookups longer, nothing else.
      (void)index_.add_block(key_, entries_);
      entries_.clear();
    }
    entries_.push_back({header.base_offset, size(), max_timestamp_ms()});
    bytes_since_entry_ = 0;
  }
  const auto bytes = static_cast<int64_t>(header.size_bytes());
  bytes_since_entry_ += bytes;
  if (size() == 0) summary_.first_timestamp_ms = header.max_timestamp_ms;
  if (header.max_timestamp_ms > summary_.max_timestamp_ms) {
    summary_.max_timestamp_ms = header.max_timestamp_ms;
    summary_.max_timestamp_offset = header.base_offset;
  }
  summary_.size += bytes;
  summary_.next_offset = header.last_offset() + 1;
}

void Segment::adopt(const SegmentSummary& summary) {
  summary_ = summary;
  known_.reset();
  sealed_ = adopted_ = true;
  bytes_since_entry_ = kEntryDue;
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

}  // namespace millrace::storage
