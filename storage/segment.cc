#include "storage/segment.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace millrace::storage {
namespace {

constexpr size_t kOffsetDigits = 20;

// Space is set aside ahead of what needs it, a quarter of the file: seldom, but not much for the many logs
// that stay small. It stays aside until it is used, also behind the end of a segment that is rolled for its
// age.
constexpr int64_t kMinAheadBytes = int64_t{4} << 10;
constexpr int64_t kMaxAheadBytes = int64_t{128} << 10;

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
  const auto reserved = (*file)->reserve(0, bytes);
  if (!reserved) return std::unexpected(reserved.error());
  may_be_trimmed_ = true;
  if (*reserved == Reserved::kYes) reserved_end_ = bytes;
  return {};
}

void Segment::trim(bool may_be_reserved) {
  if (!std::exchange(may_be_trimmed_, false) && !may_be_reserved) return;
  const auto file = this->file();
  if (!file) return;
  // A file of another size than it should have is left as it is.
  const auto size = (*file)->size();
  if (size && *size == this->size()) (void)(*file)->truncate(*size);
  reserved_end_ = 0;
}

void Segment::close() {
  used_ = false;
  release_file();
  if (stored_entries_ < entries_.size()) return;
  entries_ = {};
  stored_entries_ = 0;
}

Result<std::shared_ptr<File>> Segment::file(int64_t end_offset) const {
  auto file = open_file();
  if (!file || held_.empty() || end_offset <= held_from_) return file;
  if (auto written = write_held(**file); !written) return std::unexpected(written.error());
  return file;
}

// On an error it is tried again by whoever comes next: what a part of it has left in the file is overwritten.
Result<> Segment::write_held(File& file) const {
  auto written = file.write_at(held_.pieces(), written_size());
  if (written) held_.clear();
  return written;
}

Result<std::shared_ptr<File>> Segment::open_file() const {
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
  const auto file = open_file();
  if (!file) return std::unexpected(file.error());
  std::vector<Bytes> pieces = held_.pieces();
  pieces.push_back(batch);
  if (const auto written = (*file)->write_at(pieces, written_size()); !written) {
    // So that whoever tries again doesn't write it again each time. It has its space, and keeps it.
    if (!held_.empty()) (void)write_held(**file);
    // A part of the batch may be there; a later batch must not stand behind it.
    reserved_end_ = std::min(reserved_end_, size());
    if (const auto cut = (*file)->truncate(size()); !cut) {
      torn_ = true;
      return fail(ErrorCode::kKafkaStorageError,
                  written.error().message + "; and then: " + cut.error().message);
    }
    return written;
  }
  held_.clear();
  note_append(header, now_ms, index_interval_bytes);
  return {};
}

bool Segment::prepare_to_hold_back(size_t bytes, const WriteBehindLimit& limit, int64_t segment_bytes) {
  if (!can_reserve_ || !held_.has_room(bytes) || !limit.has_room(bytes)) return false;
  // Kept open until it is synced: when the batch is written there may be no descriptor left.
  const auto file = open_file();
  if (!file || !set_aside(**file, size() + static_cast<int64_t>(bytes), segment_bytes)) return false;
  held_.make_room(bytes);
  return true;
}

bool Segment::set_aside(File& file, int64_t end, int64_t segment_bytes) {
  if (end <= reserved_end_) return true;
  const int64_t begin = std::max(reserved_end_, written_size());
  const int64_t ahead = std::clamp(size() / 4, kMinAheadBytes, kMaxAheadBytes);
  const int64_t far_end = std::max(end, std::min(end + ahead, segment_bytes));
  for (const int64_t wanted_end : {far_end, end}) {
    const auto reserved = file.reserve(begin, wanted_end - begin);
    if (!reserved) continue;  // on a disk that is nearly full; the write that follows tells why
    can_reserve_ = *reserved == Reserved::kYes;
    if (can_reserve_) reserved_end_ = wanted_end;
    return can_reserve_;
  }
  return false;
}

void Segment::hold_back(const protocol::BatchHeader& header, Bytes batch, int64_t now_ms,
                        int32_t index_interval_bytes, WriteBehindLimit* limit) {
  if (held_.empty()) held_from_ = next_offset();
  held_.add(batch, limit);
  note_append(header, now_ms, index_interval_bytes);
}

void Segment::note_append(const protocol::BatchHeader& header, int64_t now_ms, int32_t index_interval_bytes) {
  if (size() == 0) created_ms_ = now_ms;
  last_append_ms_ = now_ms;
  note_batch(header, index_interval_bytes);
  known().note_append(next_offset(), size());
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

void Segment::adopt(const SegmentSummary& summary, bool has_more) {
  summary_ = summary;
  known_.reset();
  stored_ = summary;
  bytes_since_entry_ = kEntryDue;
  if (has_more) (void)index_.remove_entries_from(key_, summary.next_offset);
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
  held_.clear();
  reserved_end_ = 0;
  summary_ = SegmentSummary{};
  summary_.base_offset = summary_.next_offset = key_.base_offset;
}

// False when the index doesn't take it: the next start reads more, nothing else.
bool Segment::store(const SegmentSummary& summary) {
  if (stored_ == summary) return true;
  // Not those of what came behind it, which may be gone after a kill.
  const auto behind = std::ranges::lower_bound(entries_, summary.next_offset, {}, &IndexEntry::offset);
  const auto covered = std::max(stored_entries_, static_cast<size_t>(behind - entries_.begin()));
  const auto entries = std::span(entries_).first(covered).subspan(stored_entries_);
  if (!(damaged_ ? index_.add_block(key_, entries) : index_.seal(key_, entries, summary))) return false;
  if (!damaged_) stored_ = summary;
  stored_entries_ = covered;
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
