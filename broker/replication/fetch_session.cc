#include "broker/replication/fetch_session.h"

#include <limits>
#include <utility>

namespace millrace::replication {
namespace {

// Kafka's min.incremental.fetch.session.eviction.ms: a session used since is left alone.
constexpr int64_t kEvictableAfterMs = 120'000;

int32_t next_epoch(int32_t epoch) { return epoch == std::numeric_limits<int32_t>::max() ? 1 : epoch + 1; }

}  // namespace

size_t FetchTargetHash::operator()(const FetchTarget& target) const noexcept {
  const size_t topic = std::hash<Uuid>()(target.topic_id) ^ std::hash<std::string>()(target.topic);
  return topic * 31 + static_cast<uint32_t>(target.partition) * 0x9e3779b9u;
}

FetchSession::FetchSession(int32_t id, bool uses_topic_ids, int64_t now_ms)
    : id_(id), uses_topic_ids_(uses_topic_ids), created_ms_(now_ms), last_used_ms_(now_ms) {}

void FetchSession::update(const std::vector<FetchWish>& wishes) {
  for (const FetchWish& wish : wishes) {
    const auto found = index_.find(wish.target);
    if (found == index_.end()) {
      add(wish);
      continue;
    }
    Entry& entry = *found->second;
    const auto [number, round] = std::pair(entry.wish.number, entry.wish.round);
    entry.wish = wish;
    entry.wish.number = number;
    entry.wish.round = round;
    wake(entry);
  }
}

void FetchSession::add(const FetchWish& wish) {
  if (free_numbers_.empty()) {
    free_numbers_.push_back(static_cast<uint32_t>(by_number_.size()));
    by_number_.push_back(nullptr);
  }
  Entry& entry = entries_.emplace_back(Entry{.wish = wish});
  entry.wish.number = free_numbers_.back();
  free_numbers_.pop_back();
  by_number_[entry.wish.number] = &entry;
  index_.emplace(wish.target, std::prev(entries_.end()));
}

void FetchSession::wake(Entry& entry) {
  entry.due = true;
  // What was read before this doesn't let it rest again.
  ++entry.wish.round;
}

void FetchSession::forget(const std::vector<FetchTarget>& targets) {
  for (const FetchTarget& target : targets) {
    const auto found = index_.find(target);
    if (found == index_.end()) continue;
    const uint32_t number = found->second->wish.number;
    by_number_[number] = nullptr;
    free_numbers_.push_back(number);
    entries_.erase(found->second);
    index_.erase(found);
  }
}

std::vector<FetchWish> FetchSession::due_wishes() {
  for (const uint32_t number : watch_->take_moved()) {
    if (by_number_[number] != nullptr) wake(*by_number_[number]);
  }
  std::vector<FetchWish> wishes;
  for (const Entry& entry : entries_) {
    if (entry.due) wishes.push_back(entry.wish);
  }
  return wishes;
}

void FetchSession::note_unsent(const FetchAnswer& answer) {
  const auto found = index_.find(answer.target);
  if (found == index_.end()) return;
  Entry& entry = *found->second;
  const bool is_known = entry.sent_high_watermark == answer.high_watermark &&
                        entry.sent_log_start_offset == answer.log_start_offset;
  const bool is_latest = entry.wish.number == answer.number && entry.wish.round == answer.round;
  if (is_known && is_latest && answer.watched_at_end) entry.due = false;
}

bool FetchSession::note_answer(const FetchAnswer& answer) {
  const auto found = index_.find(answer.target);
  if (found == index_.end()) return false;
  Entry& entry = *found->second;
  bool differs = answer.record_bytes > 0 || answer.diverging;
  if (entry.sent_high_watermark != answer.high_watermark) {
    entry.sent_high_watermark = answer.high_watermark;
    differs = true;
  }
  if (entry.sent_log_start_offset != answer.log_start_offset) {
    entry.sent_log_start_offset = answer.log_start_offset;
    differs = true;
  }
  if (answer.error != ErrorCode::kNone) {
    // Once the error has passed the client must hear of it, even if nothing else moved.
    entry.sent_high_watermark = -1;
    return true;
  }
  if (answer.record_bytes > 0) entries_.splice(entries_.end(), entries_, found->second);
  note_unsent(answer);
  return differs;
}

FetchSessionCache::FetchSessionCache(int32_t shard, int32_t shard_count, size_t slots)
    : shard_(shard), shard_count_(shard_count), slots_(slots) {}

FetchSession* FetchSessionCache::create(const std::vector<FetchWish>& wishes, bool uses_topic_ids,
                                        uint32_t random, int64_t now_ms) {
  if (wishes.size() > kMaxPartitionsPerSession) return nullptr;
  if (!make_room(wishes.size(), now_ms)) return nullptr;
  if (partition_count() + wishes.size() > kMaxPartitions) return nullptr;
  const int32_t span = std::numeric_limits<int32_t>::max() / shard_count_ - 1;
  // Ids are positive (0 means none) and leave this shard's number when divided by the shard count.
  int32_t n = static_cast<int32_t>(random % static_cast<uint32_t>(span)) + 1;
  while (sessions_.contains(n * shard_count_ + shard_)) n = n % span + 1;
  const int32_t id = n * shard_count_ + shard_;
  FetchSession& session = sessions_.try_emplace(id, id, uses_topic_ids, now_ms).first->second;
  session.update(wishes);
  return &session;
}

bool FetchSessionCache::update(FetchSession& session, const std::vector<FetchWish>& wishes) {
  if (session.size() + wishes.size() > kMaxPartitionsPerSession) {
    remove(session.id());
    return false;
  }
  session.update(wishes);
  return true;
}

FetchSession* FetchSessionCache::resume(int32_t id, int32_t epoch, bool uses_topic_ids, int64_t now_ms,
                                        ErrorCode* error) {
  FetchSession* session = find(id);
  if (session == nullptr) {
    *error = ErrorCode::kFetchSessionIdNotFound;
  } else if (session->epoch_ != epoch) {
    *error = ErrorCode::kInvalidFetchSessionEpoch;
  } else if (session->uses_topic_ids_ != uses_topic_ids) {
    *error = ErrorCode::kFetchSessionTopicIdError;
  } else {
    *error = ErrorCode::kNone;
    session->epoch_ = next_epoch(epoch);
    session->last_used_ms_ = now_ms;
    return session;
  }
  return nullptr;
}

FetchSession* FetchSessionCache::find(int32_t id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : &found->second;
}

void FetchSessionCache::remove(int32_t id) { sessions_.erase(id); }

size_t FetchSessionCache::partition_count() const {
  size_t count = 0;
  for (const auto& [id, session] : sessions_) count += session.size();
  return count;
}

bool FetchSessionCache::make_room(size_t size, int64_t now_ms) {
  if (sessions_.size() < slots_) return true;
  // As Kafka: a session unused for long goes first; else a small old one makes way for a larger newcomer.
  auto victim = sessions_.end();
  for (auto it = sessions_.begin(); it != sessions_.end(); ++it) {
    const FetchSession& session = it->second;
    const bool unused = now_ms - session.last_used_ms_ > kEvictableAfterMs;
    const bool outranked = now_ms - session.created_ms_ > kEvictableAfterMs && session.size() < size;
    if (!unused && !outranked) continue;
    if (victim == sessions_.end() || session.last_used_ms_ < victim->second.last_used_ms_) victim = it;
  }
  if (victim == sessions_.end()) return false;
  sessions_.erase(victim);
  return true;
}

}  // namespace millrace::replication
