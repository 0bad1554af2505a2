#include "storage/journal.h"

#include <algorithm>
#include <utility>

namespace millrace::storage {

bool Journal::stage(const TopicIdPartition& partition, int64_t log_end_offset, Bytes batch) {
  if (staging_.size_with(batch.size()) > group_bytes_ && !staging_.empty()) {
    if (closed_.writes.size() + 1 == kMaxGroups) return false;
    close_group();
  }
  const size_t size = staging_.size_with(batch.size());
  if (size > group_bytes_) return false;
  if (!fits_current(size) && !spare_) return false;
  staging_.add(partition, log_end_offset, batch);
  return true;
}

void Journal::forget(const TopicIdPartition& partition) { staging_.remove(partition); }

void Journal::close_group() {
  const Bytes bytes =
      staging_.seal({{run_.number, next_number_.fetch_add(1, std::memory_order_relaxed)}, needed_from_});
  if (!fits_current(bytes.size())) {
    // Not full_ yet: a checkpoint could give it to another journal before its groups are written.
    if (current_) closed_.filled.push_back(std::move(current_));
    current_ = std::move(spare_);
    spare_ = nullptr;
    position_ = kGroupsBegin;
  }
  closed_.writes.push_back({current_, position_, bytes});
  position_ += static_cast<int64_t>(bytes.size());
  closed_.builders.push_back(std::move(staging_));
  if (idle_.empty()) {
    staging_ = JournalGroupBuilder(run_.salt);
  } else {
    staging_ = std::move(idle_.back());
    idle_.pop_back();
  }
}

std::vector<Journal::Write> Journal::take() {
  if (staging_.empty()) {
    staging_.clear();
  } else {
    close_group();
  }
  writing_ = std::exchange(closed_, {});
  return writing_.writes;
}

void Journal::done() {
  full_.insert(full_.end(), writing_.filled.begin(), writing_.filled.end());
  // As many buffers as the last groups needed are kept.
  if (!writing_.builders.empty()) idle_ = std::move(writing_.builders);
  for (JournalGroupBuilder& builder : idle_) builder.clear();
  writing_ = {};
}

Result<> Journal::write(const Write& group) {
  const Bytes pieces[] = {group.bytes};
  return group.file->write_at(pieces, group.position);
}

std::shared_ptr<File> Journal::add_file(std::shared_ptr<File> file) {
  ++files_;
  return reuse(std::move(file));
}

std::vector<std::shared_ptr<File>> Journal::take_full() { return std::exchange(full_, {}); }

void Journal::put_back_full(std::vector<std::shared_ptr<File>> files) {
  full_.insert(full_.begin(), files.begin(), files.end());
}

std::shared_ptr<File> Journal::reuse(std::shared_ptr<File> file) {
  if (spare_) {
    --files_;
    return file;
  }
  spare_ = std::move(file);
  return nullptr;
}

}  // namespace millrace::storage
