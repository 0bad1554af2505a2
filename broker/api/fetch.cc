// Fetch: 4 adds isolation levels, 7 sessions (KIP-227), 9 leader epochs (KIP-320), 12 divergence (KIP-595),
// 13 names topics by id (KIP-516).
#include "protocol/messages/fetch.h"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "broker/api/handlers.h"
#include "broker/replication/fetch_waiter.h"
#include "broker/replication/look_up.h"
#include "broker/replication/partition.h"

namespace millrace::api {
namespace {

using protocol::FetchRequest;
using protocol::FetchResponse;
using replication::FetchAnswer;
using replication::FetchTarget;
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
  ReadOutcome outcome;
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
    state.wishes = session->wishes();
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
void create_session(Context& context, const FetchRequest& request, const std::vector<FetchAnswer>& answers,
                    SessionState& state) {
  if (context.version < 7 || request.session_epoch != kFullSessionEpoch) return;
  runtime::Shard& shard = context.shard();
  auto* session = context.here().fetch_sessions.create(
      state.wishes, context.version >= 13, static_cast<uint32_t>(shard.random().next()), context.now_ms());
  if (session == nullptr) return;
  state.id = session->id();
  for (const FetchAnswer& answer : answers) session->note_answer(answer);
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

// Reads the parts of one shard, in their order, and has the waiter told when any of them can give more.
runtime::Task<> read_on_shard(Services& services, ShardServices& here, std::vector<Part*>& parts,
                              const Limits& limits, int64_t& left, bool& have_records,
                              const std::shared_ptr<replication::FetchWaiter>& waiter) {
  for (Part* part : parts) {
    const auto partition = here.partitions.find(part->id);
    if (!partition) {
      part->outcome = {.error = here.partitions.absence(part->id)};
      continue;
    }
    const int64_t max_bytes = std::clamp<int64_t>(part->wish.max_bytes, 0, std::max<int64_t>(left, 0));
    const ReadRequest request{.fetch_offset = part->wish.fetch_offset,
                              .current_leader_epoch = part->wish.current_leader_epoch,
                              .last_fetched_epoch = part->wish.last_fetched_epoch,
                              .replica_id = limits.replica_id,
                              .max_bytes = static_cast<size_t>(max_bytes),
                              .at_least_one_batch = !have_records};
    storage::MissingData missing;
    part->outcome = partition->read(request, &missing);
    if (missing) {
      auto read = [&](storage::MissingData* also_missing) { return partition->read(request, also_missing); };
      part->outcome = co_await replication::look_up(services.cold_reads, read);
    }
    if (part->outcome.slice) {
      left -= static_cast<int64_t>(part->outcome.slice->size);
      have_records = true;
    }
    // Nothing has been awaited since the read.
    if (waiter) partition->wait_for_more(waiter);
  }
}

// One pass over all partitions; whether the answer can go out without waiting.
runtime::Task<bool> read_all(Context& context, std::vector<Part>& parts, const Limits& limits,
                             const std::shared_ptr<replication::FetchWaiter>& waiter) {
  Services& services = context.services;
  std::vector<std::vector<Part*>> by_shard(services.shards.size());
  std::vector<size_t> order;
  for (Part& part : parts) {
    if (!part.resolved) continue;
    auto& shard_parts = by_shard[services.shards.index_of(part.id)];
    if (shard_parts.empty()) order.push_back(services.shards.index_of(part.id));
    shard_parts.push_back(&part);
  }
  int64_t left = limits.max_bytes;
  bool have_records = false;
  for (const size_t index : order) {
    auto read = [&] {
      return read_on_shard(services, *services.by_shard[index], by_shard[index], limits, left, have_records,
                           waiter);
    };
    co_await services.shards[index].call(read);
  }
  bool ready = limits.max_bytes - left >= limits.min_bytes || order.empty();
  for (const Part& part : parts) {
    if (part.resolved && (part.outcome.error != ErrorCode::kNone || part.outcome.diverging_epoch))
      ready = true;
  }
  co_return ready;
}

// Ends the wait of a client that has gone: its request would hold memory and a place until the deadline,
// which it chose itself.
class EndWithClient {
 public:
  EndWithClient(Context& context, const std::shared_ptr<replication::FetchWaiter>& waiter)
      : connection_(*context.request.connection) {
    connection_.when_client_gone([waiter] { waiter->signal(); });
  }
  ~EndWithClient() { connection_.when_client_gone(nullptr); }
  EndWithClient(const EndWithClient&) = delete;

 private:
  net::ConnectionInfo& connection_;
};

runtime::Task<> read_until_ready(Context& context, std::vector<Part>& parts, const Limits& limits) {
  if (limits.min_bytes <= 0 || limits.deadline_ns <= context.shard().clock().monotonic_ns()) {
    co_await read_all(context, parts, limits, nullptr);
    co_return;
  }
  const auto waiter = std::make_shared<replication::FetchWaiter>(context.shard());
  const EndWithClient end_with_client(context, waiter);
  bool ready = co_await read_all(context, parts, limits, waiter);
  while (!ready && !context.request.connection->client_gone()) {
    const bool signalled = co_await waiter->wait_until(limits.deadline_ns);
    if (!signalled) co_return;
    waiter->rearm();
    ready = co_await read_all(context, parts, limits, waiter);
  }
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

std::vector<FetchAnswer> answers_of(const std::vector<Part>& parts) {
  std::vector<FetchAnswer> answers;
  answers.reserve(parts.size());
  for (const Part& part : parts) {
    answers.push_back({.target = part.wish.target,
                       .error = part.outcome.error,
                       .high_watermark = part.outcome.high_watermark,
                       .log_start_offset = part.outcome.log_start_offset,
                       .record_bytes = part.outcome.slice ? part.outcome.slice->size : 0,
                       .diverging = part.outcome.diverging_epoch.has_value()});
  }
  return answers;
}

Limits limits_of(const Context& context, const FetchRequest& request) {
  return {.max_bytes = std::min(request.max_bytes, context.config().fetch_max_bytes),
          .min_bytes = std::min(request.min_bytes, context.config().fetch_max_bytes),
          .deadline_ns = context.shard().clock().deadline_in_ms(std::max(request.max_wait_ms, 0)),
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
  std::vector<Part> parts = resolve(context, session.wishes);
  co_await read_until_ready(context, parts, limits);

  const std::vector<FetchAnswer> answers = answers_of(parts);
  std::vector<bool> send(parts.size(), true);
  if (session.incremental) {
    send = co_await changed_parts(context.services, session.id, answers);
  } else {
    create_session(context, request, answers, session);
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
