// A cluster as a client sees it: its brokers, its topics, and a connection to each broker that is needed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/uuid.h"
#include "tools/client/connection.h"

namespace millrace::tools {

struct BrokerInfo {
  int32_t id = -1;
  Address address;
  std::optional<std::string> rack;
};

struct PartitionInfo {
  int32_t partition = 0;
  ErrorCode error = ErrorCode::kNone;
  // -1: none at the moment.
  int32_t leader = -1;
  int32_t leader_epoch = -1;
  std::vector<int32_t> replicas;
  std::vector<int32_t> isr;
  std::vector<int32_t> offline;
};

struct TopicInfo {
  std::string name;
  ErrorCode error = ErrorCode::kNone;
  // All zeros from brokers before Kafka 2.8: these know topics by name only.
  Uuid id;
  bool internal = false;
  // In order of their numbers.
  std::vector<PartitionInfo> partitions;

  const PartitionInfo* partition(int32_t number) const;
};

class Cluster {
 public:
  // Connects to the first bootstrap address that answers and reads the list of brokers.
  static Result<std::unique_ptr<Cluster>> connect(ClientOptions options);

  const ClientOptions& options() const { return options_; }
  // From now on: see ClientOptions.
  void set_timeout_ms(int64_t timeout_ms) { options_.timeout_ms = timeout_ms; }
  const std::string& cluster_id() const { return cluster_id_; }
  int32_t controller_id() const { return controller_id_; }
  const std::vector<BrokerInfo>& brokers() const { return brokers_; }

  // Asks the cluster, in order of names; without `names` for all topics. A topic that isn't there has an
  // error in it (kUnknownTopicOrPartition).
  Result<std::vector<TopicInfo>> describe_topics(const std::optional<std::vector<std::string>>& names,
                                                 bool allow_auto_creation = false);
  // One topic, with a leader for each partition; waits until leaders are there, as after an automatic
  // creation. kUnknownTopicOrPartition names the topic and those with similar names.
  Result<TopicInfo> topic(const std::string& name, bool allow_auto_creation = false);

  // The words for a topic that isn't there: its name, and those with similar names. Asks the cluster.
  Error no_such_topic(const std::string& name);

  // A connection that is open, or opened now. They stay valid until drop.
  Result<Connection*> any();
  Result<Connection*> broker(int32_t id);
  // The controller, or any broker where it isn't reachable by clients (KRaft): brokers pass requests on.
  Result<Connection*> controller();
  // Closes a connection that failed.
  void drop(Connection* connection);
  // `tell` is called before a connection is closed, which any request to the cluster may do with one on which
  // no answer is awaited: for who keeps pointers. Empty: nobody does any more.
  void when_closing(std::function<void(const Connection*)> tell) { closing_ = std::move(tell); }

  // While one lives, nothing is tried twice, and a wait ends at the deadline: for callers that have more to
  // do than to wait, and try again themselves. Don't nest them.
  class OneTry {
   public:
    OneTry(Cluster& cluster, Deadline deadline) : cluster_(cluster) { cluster_.one_try_until_ = deadline; }
    ~OneTry() { cluster_.one_try_until_.reset(); }
    OneTry(const OneTry&) = delete;
    OneTry& operator=(const OneTry&) = delete;

   private:
    Cluster& cluster_;
  };

  // Sends one request at the highest common version, at most `limit`, to the broker that `pick` chooses, and
  // again while the connection fails or `verdict` calls the answer retriable, until the timeout.
  template <class Answer, class Request>
  Result<Reply<Answer>> call(const std::function<Result<Connection*>()>& pick, const Request& request,
                             const std::function<ErrorCode(const Answer&)>& verdict = {},
                             bool refresh_between = true, int16_t limit = INT16_MAX) {
    Retry retry(one_try_until_ ? 0 : options_.timeout_ms);
    const Depth depth(*this);
    while (true) {
      Result<Reply<Answer>> reply = call_once<Answer>(pick, request, limit);
      const ErrorCode code = !reply    ? reply.error().code
                             : verdict ? verdict(reply->message)
                                       : ErrorCode::kNone;
      // What is asked between two tries says nothing about what is tried.
      if (reply && depth_ == 1) outage_over();
      if (code == ErrorCode::kNone || !is_retriable(code) || !retry.wait()) return reply;
      if (!reply && retry.is_long()) outage(reply.error());
      if (!refresh_between) continue;
      if (Result<void> refreshed = refresh(); !refreshed) return std::unexpected(refreshed.error());
    }
  }
  template <class Answer, class Request>
  Result<Reply<Answer>> call_any(const Request& request) {
    return call<Answer>([this] { return any(); }, request);
  }
  template <class Answer, class Request>
  Result<Reply<Answer>> call_controller(const Request& request,
                                        const std::function<ErrorCode(const Answer&)>& verdict = {}) {
    return call<Answer>([this] { return controller(); }, request, verdict);
  }
  template <class Answer, class Request>
  Result<Reply<Answer>> call_broker(int32_t id, const Request& request) {
    return call<Answer>([this, id] { return broker(id); }, request);
  }

  // Reads the list of brokers anew.
  Result<void> refresh();

 private:
  explicit Cluster(ClientOptions options) : options_(std::move(options)) {}

  // Waits that grow, until a time limit or a signal.
  class Retry {
   public:
    explicit Retry(int64_t limit_ms) : deadline_(Deadline::after_ms(limit_ms)) {}
    // False: no more tries.
    bool wait();
    // Whether it has gone on for so long that somebody may wonder.
    bool is_long() const { return wonder_.passed(); }

   private:
    static constexpr int64_t kWonderMs = 2'000;

    Deadline deadline_;
    Deadline wonder_ = Deadline::after_ms(kWonderMs);
    int64_t pause_ms_ = 50;
  };

  template <class Answer, class Request>
  Result<Reply<Answer>> call_once(const std::function<Result<Connection*>()>& pick, const Request& request,
                                  int16_t limit) {
    Result<Connection*> connection = pick();
    if (!connection) return std::unexpected(connection.error());
    Result<int16_t> version = (*connection)->version_of(Request::kApi, limit);
    if (!version) return std::unexpected(version.error());
    Result<Reply<Answer>> reply = (*connection)->template call<Answer>(request, *version, wait_limit_ms());
    if (!reply) drop(*connection);
    return reply;
  }

  // How many calls are under way, each within the one before.
  class Depth {
   public:
    explicit Depth(Cluster& cluster) : cluster_(cluster) { ++cluster_.depth_; }
    ~Depth() { --cluster_.depth_; }
    Depth(const Depth&) = delete;

   private:
    Cluster& cluster_;
  };
  void outage(const Error& error);
  void outage_over();
  int64_t wait_limit_ms() const { return one_try_until_ ? one_try_until_->left_ms() : options_.timeout_ms; }
  // In place of the one that it may have.
  Connection* keep(int32_t id, std::unique_ptr<Connection> connection);
  Result<std::string> similar_topics(const std::string& name);

  ClientOptions options_;
  std::string cluster_id_;
  int32_t controller_id_ = -1;
  std::vector<BrokerInfo> brokers_;
  std::optional<Deadline> one_try_until_;
  int depth_ = 0;
  bool told_outage_ = false;
  std::function<void(const Connection*)> closing_;
  // By broker id; -1 is the bootstrap connection, until the brokers are known.
  std::map<int32_t, std::unique_ptr<Connection>> connections_;
};

}  // namespace millrace::tools
