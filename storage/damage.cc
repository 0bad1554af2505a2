#include "storage/damage.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/recovery.h"

namespace millrace::storage {

using protocol::BatchHeader;

std::string describe(const DamagedRange& damage, std::string_view name) {
  return fmt::format(
      "{} is damaged at byte {}: {}. Offsets {} to {} of {} are not served any more, everything else is. "
      "Nothing was changed: restore the file, or see with `millrace log verify {}` what is sound",
      damage.file, damage.position, damage.what, damage.first_offset, damage.end_offset - 1, name,
      damage.file.substr(0, damage.file.rfind('/')));
}

bool DamageList::add(DamagedRange range) {
  const int64_t first_offset = range.first_offset;
  return ranges_.try_emplace(first_offset, std::move(range)).second;
}

const DamagedRange* DamageList::covering(int64_t offset) const {
  const auto above = ranges_.upper_bound(offset);
  if (above == ranges_.begin()) return nullptr;
  const DamagedRange& range = std::prev(above)->second;
  return offset < range.end_offset ? &range : nullptr;
}

const DamagedRange* DamageList::next_above(int64_t offset) const {
  const auto above = ranges_.upper_bound(offset);
  return above == ranges_.end() ? nullptr : &above->second;
}

void DamageList::forget_below(int64_t start_offset) {
  std::erase_if(ranges_, [&](const auto& entry) { return entry.second.end_offset <= start_offset; });
}

void DamageList::forget_from(int64_t end_offset) {
  ranges_.erase(ranges_.lower_bound(end_offset), ranges_.end());
  if (ranges_.empty()) return;
  DamagedRange& last = ranges_.rbegin()->second;
  last.end_offset = std::min(last.end_offset, end_offset);
}

SegmentSurvey::SegmentSurvey(std::shared_ptr<const File> file, SealedSegment segment)
    : file_(std::move(file)),
      segment_(std::move(segment)),
      reader_(*file_, segment_.size),
      chain_(segment_.base_offset, segment_.end_offset, segment_.may_have_holes) {
  chain_.limit_to(segment_.end_offset);
}

bool SegmentSurvey::advance(int64_t bytes) {
  const int64_t from = position_;
  const int64_t until = std::min(position_ + bytes, segment_.size);
  const bool was_cached = file_->is_cached(from, static_cast<size_t>(until - from));
  while (position_ < until) look_at_batch();
  if (!was_cached) file_->drop_cached(from, static_cast<size_t>(std::min(position_, segment_.size) - from));
  if (position_ < segment_.size) return true;
  close(segment_.end_offset);
  return false;
}

void SegmentSurvey::look_at_batch() {
  const auto start = reader_.at(position_, BatchHeader::kSize);
  if (!start) return give_up(start.error().message);
  const auto header = protocol::peek_batch_header(*start);
  if (!header) return give_up(header.error().message);
  if (auto what = length_damage(*header, segment_.size - position_); !what.empty())
    return give_up(std::move(what));
  const auto batch = reader_.at(position_, header->size_bytes());
  if (!batch) return give_up(batch.error().message);
  if (batch->size() < header->size_bytes()) return give_up("the file is shorter than it was");
  if (!protocol::crc_matches(*batch)) {
    // The header may be what is damaged, so its offsets count for nothing.
    note(crc_damage(*header));
    chain_.skip();
  } else if (auto what = chain_.damage(*header); !what.empty()) {
    // Without holes it can only belong where it stands; else nothing tells how far the damage goes.
    if (!chain_.is_exact() || header->last_offset_delta < 0) return give_up(std::move(what));
    note(std::move(what));
    chain_.pass_as_due(*header);
  } else {
    close(header->base_offset);
    chain_.pass(*header);
  }
  position_ += static_cast<int64_t>(header->size_bytes());
}

void SegmentSurvey::note(std::string what) {
  if (open_) return;
  open_ = DamagedRange{chain_.due(), segment_.end_offset, segment_.path, position_, std::move(what)};
}

void SegmentSurvey::close(int64_t end_offset) {
  if (!open_) return;
  open_->end_offset = end_offset;
  if (open_->first_offset < end_offset) damages_.push_back(std::move(*open_));
  open_.reset();
}

void SegmentSurvey::give_up(std::string what) {
  note(std::move(what));
  open_->is_endless = true;
  position_ = segment_.size;
}

}  // namespace millrace::storage
