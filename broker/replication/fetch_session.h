// Incremental fetch sessions (KIP-227): a consumer names its partitions once, and from then on only what
// changes.
//
// Pure data, driven by its shard: no I/O, and the time is an argument.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "broker/replication/fetch_waiter.h"
#include "protocol/error_code.h"
#include "protocol/uuid.h"

namespace millrace::replication {

// One partition as a fetch request names it: by topic id from version 13 on, by topic name before.
struct FetchTarget {
  Uuid topic_id;
  std::string topic;
  int32_t partition = 0;
  bool operator==(const FetchTarget&) const = default;
};

struct FetchTargetHash {
  size_t operator()(const FetchTarget& target) const noexcept;
};

// What the client wants of one partition.
struct FetchWish {
  FetchTarget target;
  int64_t fetch_offset = 0;
  int32_t current_leader_epoch = -1;
  int32_t last_fetched_epoch = -1;
  int32_t max_bytes = 0;
  // The partition's number in its fetch (see FetchWatch), and how often a session has found it worth reading.
  uint32_t number = 0;
  uint32_t round = 0;
};

// What the broker answered of one partition, as far as the session must remember it.
struct FetchAnswer {
  FetchTarget target;
  ErrorCode error = ErrorCode::kNone;
  int64_t high_watermark = -1;
  int64_t log_start_offset = -1;
  size_t record_bytes = 0;
  bool diverging = false;
  // Of the wish.
  uint32_t number = 0;
  uint32_t round = 0;
  // There was nothing more to read, and the session's watch is told when there is.
  bool watched_at_end = false;
};

// One session. Its partitions are kept in the order in which they are served: one that has just delivered
// records goes to the end, so that a busy partition cannot starve those behind it.
//
// A partition of which the client knows everything rests until it moves or the client wants something else of
// it: fetches read only the others.
class FetchSession {
 public:
  FetchSession(int32_t id, bool uses_topic_ids, int64_t now_ms);
  FetchSession(const FetchSession&) = delete;

  int32_t id() const { return id_; }
  // The epoch that the next request must carry.
  int32_t epoch() const { return epoch_; }
  bool uses_topic_ids() const { return uses_topic_ids_; }
  size_t size() const { return entries_.size(); }

  // Adds partitions or changes what is wanted of them.
  void update(const std::vector<FetchWish>& wishes);
  void forget(const std::vector<FetchTarget>& targets);
  // The partitions that don't rest, after those that have moved since were woken.
  std::vector<FetchWish> due_wishes();
  // Where partitions say that they have moved, by FetchWish::number.
  const std::shared_ptr<FetchWatch>& watch() const { return watch_; }

  // Lets the partition rest if the answer, which isn't sent, tells the client nothing new.
  void note_unsent(const FetchAnswer& answer);
  // Whether the answer differs from what the client knows already and so must be sent; remembers it as sent.
  bool note_answer(const FetchAnswer& answer);

 private:
  friend class FetchSessionCache;
  struct Entry {
    FetchWish wish;
    // -1: the client knows nothing yet, whatever is found will differ.
    int64_t sent_high_watermark = -1;
    int64_t sent_log_start_offset = -1;
    bool due = true;
  };

  void wake(Entry& entry);
  void add(const FetchWish& wish);

  int32_t id_;
  int32_t epoch_ = 1;
  bool uses_topic_ids_;
  int64_t created_ms_;
  int64_t last_used_ms_;
  std::list<Entry> entries_;
  std::unordered_map<FetchTarget, std::list<Entry>::iterator, FetchTargetHash> index_;
  std::vector<Entry*> by_number_;  // null: free
  std::vector<uint32_t> free_numbers_;
  std::shared_ptr<FetchWatch> watch_ = std::make_shared<FetchWatch>();
};

// The sessions of one shard. A session's id tells its shard: id % shard count.
class FetchSessionCache {
 public:
  // Partitions of one session, and of all sessions of a shard. Who wants more gets full answers, without a
  // session.
  static constexpr size_t kMaxPartitionsPerSession = 20'000;
  static constexpr size_t kMaxPartitions = 200'000;

  // `slots` sessions at most (max.incremental.fetch.session.cache.slots, this shard's share of it).
  FetchSessionCache(int32_t shard, int32_t shard_count, size_t slots);

  // Makes a session of these partitions; nullptr when they are too many or all slots are taken by sessions
  // still in use, in which case the client is answered with session id 0 and goes on without one. `random`
  // becomes the id.
  FetchSession* create(const std::vector<FetchWish>& wishes, bool uses_topic_ids, uint32_t random,
                       int64_t now_ms);

  // Adds to the session; false, and the session is removed, when it would grow beyond what one may have.
  bool update(FetchSession& session, const std::vector<FetchWish>& wishes);

  // The session that continues with this epoch, its epoch moved on. nullptr with an error as Kafka's:
  // FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, or FETCH_SESSION_TOPIC_ID_ERROR when names and
  // ids are mixed.
  FetchSession* resume(int32_t id, int32_t epoch, bool uses_topic_ids, int64_t now_ms, ErrorCode* error);

  // nullptr when the session is gone.
  FetchSession* find(int32_t id);
  void remove(int32_t id);

  size_t size() const { return sessions_.size(); }
  size_t partition_count() const;

 private:
  bool make_room(size_t size, int64_t now_ms);

  int32_t shard_;
  int32_t shard_count_;
  size_t slots_;
  std::unordered_map<int32_t, FetchSession> sessions_;
};

}  // namespace millrace::replication
