#include "storage/cleaner_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "storage/checksummed_text.h"

namespace millrace::storage {
namespace {

constexpr size_t kSizeLimit = 4096;

}  // namespace

CleanerCheckpoint::CleanerCheckpoint(FileSystem& files, std::string directory)
    : files_(files), directory_(std::move(directory)) {
  const std::string path = fmt::format("{}/{}", directory_, kFileName);
  const auto exists = files_.exists(path);
  if (exists && !*exists) return;
  const auto content = read_file(files_, path, kSizeLimit);
  if (!content) {
    load_problem_ = content.error().message;
    return;
  }
  const auto text = without_checksum(as_text(*content));
  long long dirty = kNothing;
  long long begin = kNothing;
  long long end = kNothing;
  const int fields = text
                         ? std::sscanf(text->c_str(), "version 1\nfirst_dirty_offset %lld\nmerging %lld %lld",
                                       &dirty, &begin, &end)
                         : 0;
  if (fields != 3 || dirty < kNothing || begin < kNothing || end < begin) {
    load_problem_ = path + " doesn't hold what a cleaner checkpoint holds";
    return;
  }
  if (dirty >= 0) first_dirty_offset_ = dirty;
  if (begin >= 0) merging_ = OffsetRange{begin, end};
}

std::optional<int64_t> CleanerCheckpoint::first_dirty_offset() const {
  const int64_t offset = first_dirty_offset_;
  return offset == kNothing ? std::nullopt : std::optional(offset);
}

Result<> CleanerCheckpoint::store(int64_t first_dirty_offset, const std::optional<OffsetRange>& merging) {
  const OffsetRange range = merging.value_or(OffsetRange{kNothing, kNothing});
  const std::string text = with_checksum(fmt::format("version 1\nfirst_dirty_offset {}\nmerging {} {}\n",
                                                     first_dirty_offset, range.begin, range.end));
  return replace_file(files_, fmt::format("{}/{}", directory_, kFileName), as_bytes(text));
}

Result<bool> CleanerCheckpoint::advance(int64_t first_dirty_offset, uint64_t version) {
  const std::lock_guard lock(mutex_);
  if (closed_ || version != version_) return false;
  if (auto stored = store(first_dirty_offset, merging_); !stored) return std::unexpected(stored.error());
  first_dirty_offset_ = first_dirty_offset;
  return true;
}

Result<bool> CleanerCheckpoint::announce_merge(const OffsetRange& range, uint64_t version) {
  const std::lock_guard lock(mutex_);
  if (closed_ || version != version_) return false;
  // Names that the merge before has taken away must not come back: nothing would tell a start of that one.
  if (auto synced = files_.sync_directory(directory_); !synced) return std::unexpected(synced.error());
  if (auto stored = store(first_dirty_offset_, range); !stored) return std::unexpected(stored.error());
  merging_ = range;
  return true;
}

Result<> CleanerCheckpoint::lower(int64_t offset) {
  const std::lock_guard lock(mutex_);
  ++version_;
  const bool is_dirty = first_dirty_offset_ > offset;
  if (!is_dirty && (!merging_ || merging_->end <= offset)) return {};
  if (is_dirty) first_dirty_offset_ = offset;
  merging_.reset();
  return store(first_dirty_offset_, merging_);
}

void CleanerCheckpoint::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

}  // namespace millrace::storage
