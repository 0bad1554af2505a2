#include "broker/net/connection_group.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "broker/net/connection.h"
#include "broker/net/connection_counters.h"
#include "broker/runtime/rate_limited_log.h"

namespace millrace::net {
namespace {

// Numeric address and port of the peer; false when it has gone already.
bool read_peer(int fd, std::string& host, uint16_t& port) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return false;
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
    port = ntohs(v4.sin_port);
  } else {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
    port = ntohs(v6.sin6_port);
  }
  host = text;
  constexpr std::string_view kMapped = "::ffff:";
  if (host.starts_with(kMapped) && host.find('.') != std::string::npos) host.erase(0, kMapped.size());
  return true;
}

}  // namespace

OwnedFd::~OwnedFd() {
  if (fd_ >= 0) ::close(fd_);
}

ConnectionGroup::ConnectionGroup(runtime::ShardGroup& shards, RequestHandler& handler,
                                 const ConnectionOptions& options, runtime::MetricsRegistry& metrics)
    : shards_(shards), handler_(handler), options_(options), counters_(std::make_unique<Counters>(metrics)) {
  for (size_t i = 0; i < shards.size(); ++i) {
    per_shard_.push_back(std::make_unique<PerShard>(options.memory_bytes_per_shard));
  }
}

ConnectionGroup::~ConnectionGroup() = default;

bool ConnectionGroup::admit(const std::string& host) {
  const std::lock_guard lock(mutex_);
  if (count_.load() >= options_.max_connections) return false;
  size_t& of_host = count_by_host_[host];
  if (of_host >= options_.max_connections_per_ip) return false;
  ++of_host;
  ++count_;
  counters_->open.add(1);
  return true;
}

void ConnectionGroup::ended(const ConnectionInfo& info) {
  const std::lock_guard lock(mutex_);
  const auto of_host = count_by_host_.find(info.client_host);
  if (--of_host->second == 0) count_by_host_.erase(of_host);
  --count_;
  counters_->open.add(-1);
}

void ConnectionGroup::adopt(OwnedFd fd, const std::string& listener_name, uint16_t listener_port) {
  auto info = std::make_unique<ConnectionInfo>();
  if (!read_peer(fd.get(), info->client_host, info->client_port)) return;
  if (!admit(info->client_host)) {
    static runtime::RateLimitedLog log(runtime::LogLevel::kWarning);
    counters_->refused.add();
    log.write(runtime::SystemClock::instance(),
              "refused a connection from {}: {} are open (max.connections={}, max.connections.per.ip={})",
              info->client(), count_.load(), options_.max_connections, options_.max_connections_per_ip);
    return;
  }
  counters_->accepted.add();
  info->id = next_id_.fetch_add(1);
  info->listener_name = listener_name;
  info->listener_port = listener_port;
  runtime::Shard& shard = shards_[info->id % shards_.size()];
  shard.post([this, &shard, fd = std::move(fd), info = std::move(info)]() mutable {
    start_on(shard, std::move(fd), std::move(info));
  });
}

void ConnectionGroup::start_on(runtime::Shard& shard, OwnedFd fd, std::unique_ptr<ConnectionInfo> info) {
  const auto connection = std::make_shared<Connection>(*this, shard, std::move(fd), std::move(info));
  if (!per_shard_[shard.id()]->stopping) connection->start();
}

void ConnectionGroup::stop(int64_t grace_ms) {
  for (const auto& shard : shards_) {
    auto finish_all = [this, &shard = *shard] {
      PerShard& mine = *per_shard_[shard.id()];
      mine.stopping = true;
      for (const auto& [id, connection] : mine.connections) connection->finish();
    };
    shard->run(finish_all);
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(grace_ms);
  while (count_.load() > 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  for (const auto& shard : shards_) {
    auto close_all = [this, &shard = *shard] {
      for (const auto& [id, connection] : per_shard_[shard.id()]->connections) connection->close();
    };
    shard->run(close_all);
  }
}

}  // namespace millrace::net
