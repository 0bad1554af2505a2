#include "tools/client/cluster.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <utility>

#include "protocol/messages/metadata.h"
#include "tools/command.h"
#include "tools/interrupt.h"

namespace millrace::tools {
namespace {

constexpr int32_t kBootstrap = -1;
constexpr int64_t kLongestPauseMs = 1'000;
// How long topics that were just created may be without a leader.
constexpr int64_t kLeaderWaitMs = 10'000;

PartitionInfo partition_info(const protocol::MetadataResponse::Topic::Partition& from) {
  PartitionInfo info;
  info.partition = from.partition_index;
  info.error = from.error_code;
  info.leader = from.leader_id;
  info.leader_epoch = from.leader_epoch;
  info.replicas.assign(from.replica_nodes.begin(), from.replica_nodes.end());
  info.isr.assign(from.isr_nodes.begin(), from.isr_nodes.end());
  info.offline.assign(from.offline_replicas.begin(), from.offline_replicas.end());
  return info;
}

TopicInfo topic_info(const protocol::MetadataResponse::Topic& from) {
  TopicInfo info;
  info.name = from.name.value_or("");
  info.error = from.error_code;
  info.id = from.topic_id;
  info.internal = from.is_internal;
  for (const auto& partition : from.partitions) info.partitions.push_back(partition_info(partition));
  std::sort(info.partitions.begin(), info.partitions.end(),
            [](const PartitionInfo& a, const PartitionInfo& b) { return a.partition < b.partition; });
  return info;
}

}  // namespace

const PartitionInfo* TopicInfo::partition(int32_t number) const {
  const auto found = std::find_if(partitions.begin(), partitions.end(),
                                  [&](const PartitionInfo& info) { return info.partition == number; });
  return found == partitions.end() ? nullptr : &*found;
}

bool Cluster::Retry::wait() {
  if (deadline_.passed() || interrupted()) return false;
  poll(nullptr, 0, static_cast<int>(std::min(pause_ms_, deadline_.left_ms())));
  pause_ms_ = std::min(pause_ms_ * 2, kLongestPauseMs);
  return !interrupted();
}

void Cluster::outage(const Error& error) {
  if (options_.on_outage && !std::exchange(told_outage_, true))
    options_.on_outage(&error, options_.timeout_ms);
}

void Cluster::outage_over() {
  if (std::exchange(told_outage_, false)) options_.on_outage(nullptr, 0);
}

Result<std::unique_ptr<Cluster>> Cluster::connect(ClientOptions options) {
  std::unique_ptr<Cluster> cluster(new Cluster(std::move(options)));
  // Nobody waits for a broker that isn't there: the first failure to connect counts.
  if (Result<Connection*> first = cluster->any(); !first) return std::unexpected(first.error());
  if (Result<void> read = cluster->refresh(); !read) return std::unexpected(read.error());
  return cluster;
}

Result<Connection*> Cluster::any() {
  for (const auto& [id, connection] : connections_) {
    if (connection->outstanding() == 0) return connection.get();
  }
  Error last{ErrorCode::kBrokerNotAvailable, "no broker's address given"};
  std::vector<Address> tried;
  for (const BrokerInfo& info : brokers_) {
    Result<Connection*> connection = broker(info.id);
    if (connection && (*connection)->outstanding() == 0) return connection;
  }
  for (const Address& address : options_.bootstrap) {
    Result<std::unique_ptr<Connection>> opened = Connection::open(address, options_, wait_limit_ms());
    if (opened) return keep(kBootstrap, std::move(*opened));
    // A reason for each address.
    if (!tried.empty()) opened.error().message = last.message + "\n" + opened.error().message;
    last = opened.error();
    tried.push_back(address);
  }
  return std::unexpected(last);
}

Result<Connection*> Cluster::broker(int32_t id) {
  if (const auto open = connections_.find(id); open != connections_.end()) return open->second.get();
  const auto info =
      std::find_if(brokers_.begin(), brokers_.end(), [&](const BrokerInfo& b) { return b.id == id; });
  if (info == brokers_.end())
    return fail(ErrorCode::kBrokerNotAvailable, fmt::format("broker {} is not in the cluster", id));
  // The bootstrap connection is as good as one by the advertised address, if it is the same.
  const auto bootstrap = connections_.find(kBootstrap);
  if (bootstrap != connections_.end() && bootstrap->second->address() == info->address) {
    connections_[id] = std::move(bootstrap->second);
    connections_.erase(kBootstrap);
    return connections_[id].get();
  }
  Result<std::unique_ptr<Connection>> opened = Connection::open(info->address, options_, wait_limit_ms());
  if (!opened) {
    return fail(opened.error().code,
                fmt::format("{} (the address that broker {} advertises: see its advertised listeners)",
                            opened.error().message, id));
  }
  return keep(id, std::move(*opened));
}

Result<Connection*> Cluster::controller() {
  if (controller_id_ < 0) return any();
  Result<Connection*> connection = broker(controller_id_);
  return connection ? connection : any();
}

void Cluster::drop(Connection* connection) {
  const auto found =
      std::ranges::find_if(connections_, [&](const auto& entry) { return entry.second.get() == connection; });
  if (found == connections_.end()) return;
  if (closing_) closing_(connection);
  connections_.erase(found);
}

Connection* Cluster::keep(int32_t id, std::unique_ptr<Connection> connection) {
  std::unique_ptr<Connection>& place = connections_[id];
  if (place && closing_) closing_(place.get());
  place = std::move(connection);
  return place.get();
}

Result<std::vector<TopicInfo>> Cluster::describe_topics(const std::optional<std::vector<std::string>>& names,
                                                        bool allow_auto_creation) {
  protocol::MetadataRequest request;
  std::vector<protocol::MetadataRequest::Topic> topics;
  // Null asks for all of them.
  request.topics.reset();
  if (names) {
    for (const std::string& name : *names) topics.emplace_back().name = name;
    request.topics = Array<protocol::MetadataRequest::Topic>(topics);
  }
  request.allow_auto_topic_creation = allow_auto_creation;
  Result<Reply<protocol::MetadataResponse>> reply =
      call<protocol::MetadataResponse>([this] { return any(); }, request, {}, false);
  if (!reply) return std::unexpected(reply.error());
  cluster_id_ = reply->message.cluster_id.value_or("");
  controller_id_ = reply->message.controller_id;
  brokers_.clear();
  for (const auto& broker : reply->message.brokers) {
    BrokerInfo& info = brokers_.emplace_back();
    info.id = broker.node_id;
    info.address = {std::string(broker.host), static_cast<uint16_t>(broker.port)};
    if (broker.rack) info.rack = std::string(*broker.rack);
  }
  std::sort(brokers_.begin(), brokers_.end(),
            [](const BrokerInfo& a, const BrokerInfo& b) { return a.id < b.id; });
  std::vector<TopicInfo> found;
  for (const auto& topic : reply->message.topics) found.push_back(topic_info(topic));
  std::sort(found.begin(), found.end(),
            [](const TopicInfo& a, const TopicInfo& b) { return a.name < b.name; });
  return found;
}

Result<void> Cluster::refresh() {
  Result<std::vector<TopicInfo>> none = describe_topics(std::vector<std::string>{});
  if (!none) return std::unexpected(none.error());
  return {};
}

Result<std::string> Cluster::similar_topics(const std::string& name) {
  Result<std::vector<TopicInfo>> all = describe_topics(std::nullopt);
  if (!all) return std::unexpected(all.error());
  std::vector<std::string> names;
  for (const TopicInfo& topic : *all) names.push_back(topic.name);
  const std::string near = nearest(name, names);
  if (!near.empty() && near == name) return std::string("; it came to be just now: try again");
  if (!near.empty()) return fmt::format("; did you mean \"{}\"?", near);
  return std::string(names.empty() ? "; there are no topics yet (millrace topic create makes one)"
                                   : "; millrace topic list shows all");
}

Error Cluster::no_such_topic(const std::string& name) {
  const Result<std::string> hint = similar_topics(name);
  return {ErrorCode::kUnknownTopicOrPartition, fmt::format("no topic \"{}\"{}", name, hint ? *hint : "")};
}

Result<TopicInfo> Cluster::topic(const std::string& name, bool allow_auto_creation) {
  Retry retry(std::min(options_.timeout_ms, kLeaderWaitMs));
  while (true) {
    Result<std::vector<TopicInfo>> found =
        describe_topics(std::vector<std::string>{name}, allow_auto_creation);
    if (!found) return std::unexpected(found.error());
    TopicInfo topic = found->empty() ? TopicInfo{} : found->front();
    ErrorCode error = found->empty() ? ErrorCode::kUnknownTopicOrPartition : topic.error;
    for (const PartitionInfo& partition : topic.partitions) {
      if (error == ErrorCode::kNone && partition.leader < 0) error = ErrorCode::kLeaderNotAvailable;
    }
    if (error == ErrorCode::kNone) return topic;
    const bool missing = error == ErrorCode::kUnknownTopicOrPartition;
    // A topic that creates itself is unknown for a moment.
    const bool hopeful = missing ? allow_auto_creation : is_retriable(error);
    if (hopeful && retry.wait()) continue;
    // Partitions without a leader are the caller's to judge.
    if (error == ErrorCode::kLeaderNotAvailable && !topic.partitions.empty()) return topic;
    if (!missing) return fail(error, fmt::format("topic \"{}\": {}", name, error_name(error)));
    return std::unexpected(no_such_topic(name));
  }
}

}  // namespace millrace::tools
