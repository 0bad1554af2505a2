#include "storage/journal.h"

#include <algorithm>
#include <utility>

namespace millrace::storage {

bool Journal::stage(const TopicIdPartition& partition, int64_t log_end_offset, Bytes batch) {
  const size_t size = staging_.size_with(batch.size());
  if (size > kJournalMaxGroupBytes || static_cast<int64_t>(size) > groups_end_ - kGroupsBegin) return false;
  if (!fits_current(size) && !spare_) return false;
  staging_.add(partition, log_end_offset, batch);
  return true;
}

void Journal::forget(const TopicIdPartition& partition) { staging_.remove(partition); }

std::optional<Journal::Write> Journal::take() {
  if (staging_.empty()) {
    staging_.clear();
    return std::nullopt;
  }
  std::swap(staging_, writing_);
  const Bytes bytes = writing_.seal({{run_.number, next_number_++}, needed_from_});
  if (!fits_current(bytes.size())) {
    if (current_) full_.push_back(std::move(current_));
    current_ = std::move(spare_);
    spare_ = nullptr;
    position_ = kGroupsBegin;
  }
  Write write{current_, position_, bytes};
  position_ += static_cast<int64_t>(bytes.size());
  return write;
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

std::shared_ptr<File> Journal::reuse(std::shared_ptr<File> file) {
  if (spare_) {
    --files_;
    return file;
  }
  spare_ = std::move(file);
  return nullptr;
}

}  // namespace millrace::storage
