#include "broker/net/request.h"

#include <algorithm>

namespace millrace::net {

std::string ConnectionInfo::client() const {
  const bool is_v6 = client_host.find(':') != std::string::npos;
  return (is_v6 ? '[' + client_host + ']' : client_host) + ':' + std::to_string(client_port);
}

runtime::Task<> Request::reserve(int64_t bytes) {
  // To the frame's lease: two that each waited for what the other holds would wait for ever.
  if (budget != nullptr) co_await budget->acquire(memory.lease, bytes, runtime::MemoryBudget::Use::kBulk);
  reserved_bytes += bytes;
}

void Request::shrink_reserved(int64_t bytes) {
  if (bytes >= reserved_bytes) return;
  memory.lease.shrink_to(memory.lease.size() - (reserved_bytes - bytes));
  reserved_bytes = bytes;
}

void Request::release_frame(int64_t copied_bytes) {
  runtime::MemoryLease lease = std::move(memory.lease);
  memory = FrameBuffer();
  frame = {};
  lease.shrink_to(std::min(lease.size(), reserved_bytes + copied_bytes));
  memory.lease = std::move(lease);
}

}  // namespace millrace::net
