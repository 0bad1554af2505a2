// Fetch: 4 adds isolation levels, 7 sessions (KIP-227), 9 leader epochs (KIP-320), 12 divergence (KIP-595),
// 13 names topics by id (KIP-516).
#include "protocol/messages/fetch.h"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "broker/api/handlers.h"
#include "broker/api/request_limits.h"
#include "broker/replication/fetch_waiter.h"
#include "broker/replication/look_up.h"
#include "broker/replication/partition.h"

namespace millrace::api {
namespace {

using protocol::FetchRequest;
using protocol::FetchResponse;
using replication::FetchAnswer;
using replication::FetchTarget;
using replication::FetchWaiter;
using replication::FetchWatch;
using replication::FetchWish;
using replication::ReadOutcome;
using replication::ReadRequest;

constexpr int32_t kFullSessionEpoch = 0;
constexpr int32_t kNoSessionEpoch = -1;

// One partition while the fetch is served.
struct Part {
  FetchWish wish;
  TopicIdPartition id;
  bool resolved = false;  // the topic and the partition exist
  bool watched = false;   // the fetch is told when it moves from here
  ReadOutcome outcome;

  bool at_end() const {
    return outcome.error == ErrorCode::kNone && !outcome.diverging_epoch &&
           wish.fetch_offset >= outcome.high_watermark;
  }
};

struct Limits {
  int64_t max_bytes;
  int64_t min_bytes;
  int64_t deadline_ns;
  int32_t replica_id;
  bool reads_committed;
};

// What the session says of this request.
struct SessionState {
  ErrorCode error = ErrorCode::kNone;
  int32_t id = 0;            // of the session that answers; 0 without
  bool incremental = false;  // only what changed is answered
  std::vector<FetchWish> wishes;
  size_t resting = 0;  // partitions of the session that needn't be read
  std::shared_ptr<FetchWatch> watch = nullptr;
};

// A partition that is named twice counts once, as it is named last.
std::vector<FetchWish> wishes_of(const FetchRequest& request) {
  std::vector<FetchWish> wishes;
  std::unordered_map<FetchTarget, size_t, replication::FetchTargetHash> places;
  for (const auto& topic : request.topics) {
    for (const auto& partition : topic.partitions) {
      FetchWish wish{.target = {topic.topic_id, std::string(topic.topic), partition.partition},
                     .fetch_offset = partition.fetch_offset,
                     .current_leader_epoch = partition.current_leader_epoch,
                     .last_fetched_epoch = partition.last_fetched_epoch,
                     .max_bytes = partition.partition_max_bytes};
      const auto [place, is_new] = places.try_emplace(wish.target, wishes.size());
      wish.number = static_cast<uint32_t>(place->second);
      if (is_new) {
        wishes.push_back(std::move(wish));
      } else {
        wishes[place->second] = std::move(wish);
      }
    }
  }
  return wishes;
}

std::vector<FetchTarget> forgotten_by(const FetchRequest& request) {
  std::vector<FetchTarget> targets;
  for (const auto& topic : request.forgotten_topics_data) {
    for (const int32_t partition : topic.partitions) {
      targets.push_back({topic.topic_id, std::string(topic.topic), partition});
    }
  }
  return targets;
}

// A session's shard is told by its id; a client may come back on a connection of another shard.
runtime::Shard& shard_of_session(Services& services, int32_t id) {
  return services.shards[static_cast<uint32_t>(id) % services.shards.size()];
}

runtime::Task<> remove_session(Services& services, int32_t id) {
  runtime::Shard& shard = shard_of_session(services, id);
  auto remove = [&services, &shard, id] { services.of(shard).fetch_sessions.remove(id); };
  co_await shard.call(remove);
}

void take_due(replication::FetchSession& session, SessionState& state) {
  state.wishes = session.due_wishes();
  state.resting = session.size() - state.wishes.size();
  state.watch = session.watch();
}

runtime::Task<SessionState> resume_session(Context& context, const FetchRequest& request) {
  Services& services = context.services;
  runtime::Shard& shard = shard_of_session(services, request.session_id);
  const bool uses_topic_ids = context.version >= 13;
  auto resume = [&] {
    SessionState state;
    auto& sessions = services.of(shard).fetch_sessions;
    auto* session = sessions.resume(request.session_id, request.session_epoch, uses_topic_ids,
                                    shard.clock().now_ms(), &state.error);
    if (session == nullptr) return state;
    if (!sessions.update(*session, wishes_of(request))) {
      // The client starts over, with all its partitions, and gets no session for that many.
      state.error = ErrorCode::kFetchSessionIdNotFound;
      return state;
    }
    session->forget(forgotten_by(request));
    take_due(*session, state);
    if (session->size() == 0) {
      sessions.remove(request.session_id);
    } else {
      state.id = request.session_id;
      state.incremental = true;
    }
    return state;
  };
  co_return co_await shard.call(resume);
}

runtime::Task<SessionState> find_session(Context& context, const FetchRequest& request) {
  if (request.session_epoch != kFullSessionEpoch && request.session_epoch != kNoSessionEpoch) {
    co_return co_await resume_session(context, request);
  }
  if (request.session_id != 0) co_await remove_session(context.services, request.session_id);
  SessionState state;
  state.wishes = wishes_of(request);
  co_return state;
}

// Starts a session where the client asked for one; it is told what this answer says.
void create_session(Context& context, const FetchRequest& request, const std::vector<Part>& parts,
                    const std::vector<FetchAnswer>& answers, SessionState& state) {
  if (context.version < 7 || request.session_epoch != kFullSessionEpoch) return;
  std::vector<FetchWish> wishes;
  for (const Part& part : parts) wishes.push_back(part.wish);
  runtime::Shard& shard = context.shard();
  auto* session = context.here().fetch_sessions.create(
      wishes, context.version >= 13, static_cast<uint32_t>(shard.random().next()), context.now_ms());
  if (session == nullptr) return;
  state.id = session->id();
  for (FetchAnswer answer : answers) {
    answer.watched_at_end = false;  // by the watch of this fetch alone, of which the session hears nothing
    session->note_answer(answer);
  }
}

// After a pass that found too little: what need not be read again rests, and what has moved is due. False
// when the session is gone.
runtime::Task<bool> continue_session(Services& services, SessionState& state,
                                     const std::vector<FetchAnswer>& answers) {
  runtime::Shard& shard = shard_of_session(services, state.id);
  auto work = [&] {
    auto* session = services.of(shard).fetch_sessions.find(state.id);
    if (session == nullptr) return false;
    for (const FetchAnswer& answer : answers) session->note_unsent(answer);
    take_due(*session, state);
    return true;
  };
  co_return co_await shard.call(work);
}

// Which parts of an incremental answer must be sent.
runtime::Task<std::vector<bool>> changed_parts(Services& services, int32_t session_id,
                                               const std::vector<FetchAnswer>& answers) {
  runtime::Shard& shard = shard_of_session(services, session_id);
  auto note = [&] {
    std::vector<bool> changed(answers.size(), true);
    auto* session = services.of(shard).fetch_sessions.find(session_id);
    for (size_t i = 0; session != nullptr && i < answers.size(); ++i)
      changed[i] = session->note_answer(answers[i]);
    return changed;
  };
  co_return co_await shard.call(note);
}

std::vector<Part> resolve(Context& context, std::vector<FetchWish> wishes) {
  std::vector<Part> parts;
  parts.reserve(wishes.size());
  for (FetchWish& wish : wishes) {
    Part part{.wish = std::move(wish)};
    const FetchTarget& target = part.wish.target;
    const bool by_id = context.version >= 13;
    const auto topic = by_id ? context.image()->topic(target.topic_id) : context.image()->topic(target.topic);
    if (!topic) {
      part.outcome.error = by_id ? ErrorCode::kUnknownTopicId : ErrorCode::kUnknownTopicOrPartition;
    } else if (target.partition < 0 || static_cast<size_t>(target.partition) >= topic->partitions.size()) {
      part.outcome.error = ErrorCode::kUnknownTopicOrPartition;
    } else {
      part.id = {topic->id, target.partition};
      part.resolved = true;
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

// What a pass may still read.
struct Allowance {
  int64_t bytes_left;
  bool have_records = false;
};

// Reads parts of one shard, in their order. Has the watch told when they can give more, but for those that
// have enough already.
runtime::Task<> read_on_shard(Services& services, ShardServices& here, std::vector<Part*>& parts,
                              const Limits& limits, Allowance& allowance,
                              const std::shared_ptr<FetchWatch>& watch) {
  for (Part* part : parts) {
    const auto partition = here.partitions.find(part->id);
    if (!partition) {
      part->outcome = {.error = here.partitions.absence(part->id)};
      continue;
    }
    const int64_t max_bytes =
        std::clamp<int64_t>(part->wish.max_bytes, 0, std::max<int64_t>(allowance.bytes_left, 0));
    const ReadRequest request{.fetch_offset = part->wish.fetch_offset,
                              .current_leader_epoch = part->wish.current_leader_epoch,
                              .last_fetched_epoch = part->wish.last_fetched_epoch,
                              .replica_id = limits.replica_id,
                              .max_bytes = static_cast<size_t>(max_bytes),
                              .at_least_one_batch = !allowance.have_records};
    storage::MissingData missing;
    part->outcome = partition->read(request, &missing);
    if (missing) {
      auto read = [&](storage::MissingData* also_missing) { return partition->read(request, also_missing); };
      part->outcome = co_await replication::look_up(services.cold_reads, read);
    }
    if (part->outcome.slice) {
      allowance.bytes_left -= static_cast<int64_t>(part->outcome.slice->size);
      allowance.have_records = true;
    }
    // Nothing has been awaited since the read.
    const bool is_enough = limits.max_bytes - allowance.bytes_left >= limits.min_bytes;
    if (watch && (part->at_end() || !is_enough)) {
      partition->wait_for_more(watch, part->wish.number);
      part->watched = true;
    }
  }
}

bool is_ready(const std::vector<Part>& parts, const Limits& limits, const Allowance& allowance) {
  if (limits.max_bytes - allowance.bytes_left >= limits.min_bytes) return true;
  return std::any_of(parts.begin(), parts.end(), [](const Part& part) {
    return part.resolved && (part.outcome.error != ErrorCode::kNone || part.outcome.diverging_epoch);
  });
}

// Reads some of the parts, anew or for the first time; whether the answer can go out without waiting.
runtime::Task<bool> read_parts(Context& context, std::vector<Part>& parts, const std::vector<Part*>& to_read,
                               const Limits& limits, const std::shared_ptr<FetchWatch>& watch) {
  Services& services = context.services;
  std::vector<std::vector<Part*>> by_shard(services.shards.size());
  std::vector<size_t> order;
  for (Part* part : to_read) {
    part->watched = false;
    if (!part->resolved) continue;
    part->outcome = {};
    auto& shard_parts = by_shard[services.shards.index_of(part->id)];
    if (shard_parts.empty()) order.push_back(services.shards.index_of(part->id));
    shard_parts.push_back(part);
  }
  Allowance allowance{.bytes_left = limits.max_bytes};
  for (const Part& part : parts) {
    if (!part.outcome.slice) continue;
    allowance.bytes_left -= static_cast<int64_t>(part.outcome.slice->size);
    allowance.have_records = true;
  }
  for (const size_t index : order) {
    auto read = [&] {
      return read_on_shard(services, *services.by_shard[index], by_shard[index], limits, allowance, watch);
    };
    co_await services.shards[index].call(read);
  }
  co_return is_ready(parts, limits, allowance);
}

std::vector<Part*> pointers_to(std::vector<Part>& parts) {
  std::vector<Part*> pointers;
  pointers.reserve(parts.size());
  for (Part& part : parts) pointers.push_back(&part);
  return pointers;
}

// Without a session the numbers are places.
std::vector<Part*> moved_parts(std::vector<Part>& parts, FetchWatch& watch) {
  std::vector<uint32_t> numbers = watch.take_moved();
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  std::vector<Part*> moved;
  for (const uint32_t number : numbers) moved.push_back(&parts[number]);
  return moved;
}

std::vector<FetchAnswer> answers_of(const std::vector<Part>& parts) {
  std::vector<FetchAnswer> answers;
  answers.reserve(parts.size());
  for (const Part& part : parts) {
    answers.push_back({.target = part.wish.target,
                       .error = part.outcome.error,
                       .high_watermark = part.outcome.high_watermark,
                       .log_start_offset = part.outcome.log_start_offset,
                       .record_bytes = part.outcome.slice ? part.outcome.slice->size : 0,
                       .diverging = part.outcome.diverging_epoch.has_value(),
                       .number = part.wish.number,
                       .round = part.wish.round,
                       .watched_at_end = part.watched && part.at_end()});
  }
  return answers;
}

// Ends the wait of a client that has gone: its request would hold memory and a place until the deadline,
// which it chose itself.
class EndWithClient {
 public:
  EndWithClient(Context& context, const std::shared_ptr<FetchWaiter>& waiter)
      : connection_(*context.request.connection) {
    connection_.when_client_gone([waiter] { waiter->signal(); });
  }
  ~EndWithClient() { connection_.when_client_gone(nullptr); }
  EndWithClient(const EndWithClient&) = delete;

 private:
  net::ConnectionInfo& connection_;
};

// Once more, what has moved since; whether the answer can go out.
runtime::Task<bool> read_again(Context& context, SessionState& session, std::vector<Part>& parts,
                               const Limits& limits) {
  std::vector<Part*> to_read;
  if (session.incremental) {
    const std::vector<FetchAnswer> unsent = answers_of(parts);
    const bool goes_on = co_await continue_session(context.services, session, unsent);
    if (!goes_on) co_return true;
    parts = resolve(context, std::move(session.wishes));
    to_read = pointers_to(parts);
  } else {
    to_read = moved_parts(parts, *session.watch);
  }
  co_return co_await read_parts(context, parts, to_read, limits, session.watch);
}

// All that doesn't rest, read; waits until there is enough for an answer, or the deadline. The request's
// texts and arrays are gone afterwards.
runtime::Task<std::vector<Part>> read_until_ready(Context& context, SessionState& session,
                                                  const Limits& limits) {
  std::vector<Part> parts = resolve(context, std::move(session.wishes));
  const std::vector<Part*> all = pointers_to(parts);
  if (limits.min_bytes <= 0 || limits.deadline_ns <= context.shard().clock().monotonic_ns()) {
    co_await read_parts(context, parts, all, limits, session.watch);
    co_return parts;
  }
  if (!session.watch) session.watch = std::make_shared<FetchWatch>();
  const auto waiter = std::make_shared<FetchWaiter>(context.shard());
  const EndWithClient end_with_client(context, waiter);
  session.watch->attach(waiter);
  bool ready = co_await read_parts(context, parts, all, limits, session.watch);
  const bool can_move = session.resting > 0 || std::any_of(parts.begin(), parts.end(),
                                                           [](const Part& part) { return part.resolved; });
  while (can_move && !ready && !context.request.connection->client_gone()) {
    context.release_request();
    const bool signalled = co_await waiter->wait_until(limits.deadline_ns);
    if (!signalled) break;
    waiter->rearm();
    ready = co_await read_again(context, session, parts, limits);
  }
  co_return parts;
}

FetchResponse::Topic::Partition answer(Context& context, Part& part, bool reads_committed) {
  FetchResponse::Topic::Partition answer;
  answer.partition_index = part.wish.target.partition;
  answer.error_code = part.outcome.error;
  answer.high_watermark = part.outcome.high_watermark;
  answer.last_stable_offset = part.outcome.last_stable_offset;
  answer.log_start_offset = part.outcome.log_start_offset;
  // Null says that the client didn't ask; without transactions, or without the partition, the list is empty.
  answer.aborted_transactions = std::nullopt;
  if (reads_committed || !part.resolved) answer.aborted_transactions.emplace();
  if (part.outcome.diverging_epoch) {
    answer.diverging_epoch.epoch = part.outcome.diverging_epoch->epoch;
    answer.diverging_epoch.end_offset = part.outcome.diverging_epoch->end_offset;
  }
  if (part.outcome.slice) {
    answer.records =
        protocol::Records::in_file(part.outcome.slice->size, static_cast<uint32_t>(context.slices.size()));
    context.slices.push_back(std::move(*part.outcome.slice));
  } else {
    answer.records = protocol::Records::of(Bytes{});
  }
  return answer;
}

bool same_topic(const FetchTarget& a, const FetchTarget& b) {
  return a.topic_id == b.topic_id && a.topic == b.topic;
}

// Groups neighbours of one topic; the order is kept, since clients serve partitions in the order of the
// answer.
void fill(Context& context, std::vector<Part*>& parts, bool reads_committed, FetchResponse& response) {
  size_t topic_count = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i == 0 || !same_topic(parts[i - 1]->wish.target, parts[i]->wish.target)) ++topic_count;
  }
  response.responses = context.arena.make_array<FetchResponse::Topic>(topic_count);
  size_t t = 0;
  for (size_t begin = 0; begin < parts.size(); ++t) {
    size_t end = begin + 1;
    while (end < parts.size() && same_topic(parts[begin]->wish.target, parts[end]->wish.target)) ++end;
    FetchResponse::Topic& topic = response.responses[t];
    topic.topic = context.text(parts[begin]->wish.target.topic);
    topic.topic_id = parts[begin]->wish.target.topic_id;
    topic.partitions = context.arena.make_array<FetchResponse::Topic::Partition>(end - begin);
    for (size_t i = begin; i < end; ++i)
      topic.partitions[i - begin] = answer(context, *parts[i], reads_committed);
    begin = end;
  }
}

Limits limits_of(const Context& context, const FetchRequest& request) {
  int32_t max_wait_ms = std::max(request.max_wait_ms, 0);
  if (context.request.reserved_bytes > 0) max_wait_ms = std::min(max_wait_ms, RequestLimits::kLargeMaxWaitMs);
  return {.max_bytes = std::min(request.max_bytes, context.config().fetch_max_bytes),
          .min_bytes = std::min(request.min_bytes, context.config().fetch_max_bytes),
          .deadline_ns = context.shard().clock().deadline_in_ms(max_wait_ms),
          .replica_id = context.version >= 15 ? request.replica_state.replica_id : request.replica_id,
          .reads_committed = request.isolation_level == 1};
}

}  // namespace

runtime::Task<> fetch(Context& context, const FetchRequest& request, FetchResponse& response) {
  SessionState session = co_await find_session(context, request);
  if (session.error != ErrorCode::kNone) {
    response.error_code = session.error;
    co_return;
  }
  const Limits limits = limits_of(context, request);
  std::vector<Part> parts = co_await read_until_ready(context, session, limits);

  const std::vector<FetchAnswer> answers = answers_of(parts);
  std::vector<bool> send(parts.size(), true);
  if (session.incremental) {
    send = co_await changed_parts(context.services, session.id, answers);
  } else {
    create_session(context, request, parts, answers, session);
  }
  response.session_id = session.id;
  std::vector<Part*> sent;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (send[i]) sent.push_back(&parts[i]);
  }
  // What doesn't exist is answered last, as Kafka does.
  std::stable_partition(sent.begin(), sent.end(), [](const Part* part) { return part->resolved; });
  fill(context, sent, limits.reads_committed, response);
}

}  // namespace millrace::api
