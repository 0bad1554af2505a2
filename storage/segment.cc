#include "storage/segment.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

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

std::optional<int64_t> Segment::deleted_base_offset_of(std::string_view file_name) {
  if (!file_name.ends_with(kDeletedSuffix)) return std::nullopt;
  file_name.remove_suffix(kDeletedSuffix.size());
  return base_offset_of(file_name);
}

void Segment::rest() {
  if (!std::exchange(used_, false)) close();
}

Result<> Segment::reserve(int64_t bytes) {
  const auto file = this->file();
  if (!file) return std::unexpected(file.error());
  auto reserved = (*file)->reserve(bytes);
  reserved_ = reserved.has_value();
  return reserved;
}

void Segment::trim(bool may_be_reserved) {
  if (!std::exchange(reserved_, false) && !may_be_reserved) return;
  const auto file = this->file();
  if (!file) return;
  // A file of another size than it should have is left as it is.
  const auto size = (*file)->size();
  if (size && *size == this->size()) (void)(*file)->truncate(*size);
}

void Segment::close() {
  used_ = false;
  release_file();
  if (stored_entries_ < entries_.size()) return;
  entries_ = {};
  stored_entries_ = 0;
}

Result<std::shared_ptr<File>> Segment::file() const {
  used_ = true;
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
  if (size() == 0) created_ms_ = now_ms;
  last_append_ms_ = now_ms;
  note_batch(header, index_interval_bytes);
  known().note_append(next_offset(), size());
  return {};
}

void Segment::note_batch(const protocol::BatchHeader& header, int32_t index_interval_bytes) {
  const auto entry = count_batch(header, index_interval_bytes, summary_, bytes_since_entry_);
  if (!entry) return;
  if (entries_.size() == kBlockEntries) {
    // Entries that the index doesn't take make lookups longer, nothing else.
    (void)index_.add_block(key_, std::span(entries_).subspan(stored_entries_));
    entries_.clear();
    stored_entries_ = 0;
  }
  entries_.push_back(*entry);
}

void Segment::adopt(const SegmentSummary& summary, int64_t file_size) {
  summary_ = summary;
  known_.reset();
  stored_ = summary;
  bytes_since_entry_ = kEntryDue;
  if (summary.size < file_size) (void)index_.remove_blocks_from(key_, summary.next_offset);
}

void Segment::adopt_compacted(const SegmentSummary& summary, std::vector<IndexEntry> entries) {
  summary_ = summary;
  entries_ = std::move(entries);
  stored_entries_ = 0;
  stored_.reset();
  known_.reset();
}

void Segment::forget_batches() {
  (void)index_.remove_segment(key_);
  stored_.reset();
  known_.reset();
  entries_.clear();
  stored_entries_ = 0;
  bytes_since_entry_ = kEntryDue;
  damaged_ = false;
  summary_ = SegmentSummary{};
  summary_.base_offset = summary_.next_offset = key_.base_offset;
}

// False when the index doesn't take it: the next start reads more, nothing else.
bool Segment::store(const SegmentSummary& summary) {
  if (stored_ == summary) return true;
  const auto entries = std::span(entries_).subspan(stored_entries_);
  if (!(damaged_ ? index_.add_block(key_, entries) : index_.seal(key_, entries, summary))) return false;
  if (!damaged_) stored_ = summary;
  stored_entries_ = entries_.size();
  return true;
}

void Segment::seal(bool synced) {
  summary_.synced = synced;
  if (!store(summary_)) return;
  entries_.clear();
  entries_.shrink_to_fit();
  stored_entries_ = 0;
  bytes_since_entry_ = kEntryDue;
}

void Segment::seal_stored() {
  entries_.clear();
  stored_entries_ = 0;
  stored_.reset();
  seal(true);
}

void Segment::unseal() {
  (void)index_.remove_summary(key_);
  stored_.reset();
}

void Segment::mark_damaged() {
  damaged_ = true;
  known_.reset();
  unseal();
}

std::optional<SegmentSummary> Segment::covered() const {
  return stored_ && stored_->synced && stored_->size <= size() ? stored_ : std::nullopt;
}

void Segment::checkpoint(SegmentSummary synced) {
  synced.synced = true;
  if (synced.size > 0) (void)store(synced);
}

}  // namespace millrace::storage
