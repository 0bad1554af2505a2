// All connections of the broker: their limits, their memory budgets (one per shard) and their end.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "broker/net/request_handler.h"
#include "broker/net/socket.h"
#include "broker/runtime/disk_pool.h"
#include "broker/runtime/memory_budget.h"
#include "broker/runtime/metrics.h"
#include "broker/runtime/shard_group.h"

namespace millrace::net {

// Requests of one connection that are read but not answered yet; then it isn't read any further.
inline constexpr size_t kMaxPipelinedRequests = 64;
// Frames of one connection waiting or being handled, in bytes; one frame may always be read.
inline constexpr size_t kMaxPipelinedBytes = 16 << 20;
// Finished responses of one connection that its client hasn't taken yet, in bytes of memory; then no further
// request of it is started.
inline constexpr size_t kMaxUnsentBytes = 1 << 20;

// Frames up to this size share the whole memory budget of their shard, larger ones three quarters of it.
inline constexpr size_t kSmallFrameBytes = 64 << 10;

struct ConnectionOptions {
  int32_t max_request_bytes = 100 << 20;   // socket.request.max.bytes
  int64_t idle_ms = 600'000;               // connections.max.idle.ms: no byte moved for so long
  int64_t frame_timeout_ms = 30'000;       // from a frame's first byte to its last, plus 1 s for each 256 KiB
  int64_t frame_stall_ms = 10'000;         // between two bytes of a frame
  size_t max_connections = 10'000;         // max.connections
  size_t max_connections_per_ip = 10'000;  // max.connections.per.ip
  int64_t memory_bytes_per_shard = 256 << 20;
  // Brings into memory what responses take from files and isn't there; see ResponseWriter. Outlives the
  // shards.
  runtime::DiskPool* cold_reads = nullptr;
};

class Connection;

class ConnectionGroup {
 public:
  // Handler, shards and registry must outlive the group; the group must outlive the shards' last coroutine:
  // stop it, stop the shards, then destroy it.
  ConnectionGroup(runtime::ShardGroup& shards, RequestHandler& handler, const ConnectionOptions& options,
                  runtime::MetricsRegistry& metrics);
  ~ConnectionGroup();
  ConnectionGroup(const ConnectionGroup&) = delete;

  // Takes over a connected, non-blocking socket, on the next shard in turn; closes it (with a logged reason)
  // when there are too many connections. From any thread.
  void adopt(OwnedFd fd, const std::string& listener_name, uint16_t listener_port);

  // Connections that wait for a request close at once; those with requests under way get `grace_ms` to answer
  // them; then everything is closed. Blocks; not from a shard's thread. The shards must still run.
  void stop(int64_t grace_ms);

  size_t connection_count() const { return count_.load(); }
  // The memory budget of a shard's connections; what frames have above kSmallFrameBytes is its bulk: the rest
  // is always there for small ones, so that a few large requests that don't get on can't shut out everybody
  // else. On that shard.
  runtime::MemoryBudget& budget(runtime::Shard& shard) { return per_shard_[shard.id()]->budget; }
  const ConnectionOptions& options() const { return options_; }
  RequestHandler& handler() { return handler_; }

 private:
  friend class Connection;
  struct PerShard;
  struct Counters;

  bool admit(const std::string& host);
  void start_on(runtime::Shard& shard, OwnedFd fd, std::unique_ptr<ConnectionInfo> info);
  // Called by a connection that has ended, on its shard.
  void ended(const ConnectionInfo& info);

  struct PerShard {
    explicit PerShard(int64_t memory_bytes) : budget(memory_bytes, memory_bytes / 4 * 3) {}
    runtime::MemoryBudget budget;
    std::map<ConnectionId, Connection*> connections;
    bool stopping = false;
  };

  runtime::ShardGroup& shards_;
  RequestHandler& handler_;
  const ConnectionOptions options_;
  std::vector<std::unique_ptr<PerShard>> per_shard_;
  std::unique_ptr<Counters> counters_;
  std::atomic<uint64_t> next_id_ = 1;
  std::atomic<size_t> count_ = 0;
  std::mutex mutex_;
  std::map<std::string, size_t> count_by_host_;  // under mutex_
};

}  // namespace millrace::net
