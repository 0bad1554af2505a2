#include "broker/net/listener.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <cerrno>
#include <cstring>

#include "broker/net/port_owner.h"
#include "broker/runtime/rate_limited_log.h"
#include "storage/descriptors.h"

namespace millrace::net {
namespace {

// Connections taken in one go before other work of the shard gets its turn.
constexpr int kMaxAcceptsPerTurn = 64;
// When the process has no descriptors left, trying again at once would only burn the CPU.
constexpr int64_t kPauseWithoutDescriptorsMs = 100;

struct Candidate {
  int family;
  sockaddr_storage address;
  socklen_t size;
};

Result<Candidate> resolve(const ListenAddress& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(address.port);
  const int error = ::getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    return fail(ErrorCode::kInvalidConfig,
                fmt::format("can't listen on {}: {}", address.host, ::gai_strerror(error)));
  }
  // A name with both families means its IPv4 address: what clients get from the same name works in any case.
  const addrinfo* chosen = found;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    if (one->ai_family == AF_INET) {
      chosen = one;
      break;
    }
  }
  Candidate candidate{chosen->ai_family, {}, chosen->ai_addrlen};
  std::memcpy(&candidate.address, chosen->ai_addr, chosen->ai_addrlen);
  ::freeaddrinfo(found);
  return candidate;
}

Candidate any_address(int family, uint16_t port) {
  Candidate candidate{family, {}, 0};
  if (family == AF_INET6) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(candidate.address);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    candidate.size = sizeof(v6);
  } else {
    auto& v4 = reinterpret_cast<sockaddr_in&>(candidate.address);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    candidate.size = sizeof(v4);
  }
  return candidate;
}

std::string describe_failure(const ListenAddress& address, int error) {
  const std::string where = fmt::format("{}:{}", address.host.empty() ? "*" : address.host, address.port);
  if (error != EADDRINUSE) return fmt::format("can't listen on {}: {}", where, std::strerror(error));
  const std::string how = address.port_hint.empty() ? "another port" : address.port_hint;
  if (const auto owner = find_port_owner(address.port)) {
    return fmt::format(
        "can't listen on {}: the port is in use by pid {} ({}); stop it, or choose {} (0 picks a free port)",
        where, owner->pid, owner->command, how);
  }
  return fmt::format(
      "can't listen on {}: the port is in use by a process of another user; choose {} (0 picks a free port)",
      where, how);
}

// Returns errno, 0 when it listens.
int bind_and_listen(const Candidate& candidate, int backlog, OwnedFd& listening) {
  OwnedFd fd(::socket(candidate.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd) return errno;
  const int on = 1;
  const int off = 0;
  // Without it a restart would wait for the last connections' TIME_WAIT.
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (candidate.family == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&candidate.address), candidate.size) != 0)
    return errno;
  if (::listen(fd.get(), backlog) != 0) return errno;
  listening = std::move(fd);
  return 0;
}

}  // namespace

Result<OwnedFd> listen_on(const ListenAddress& address) {
  OwnedFd listening;
  int error = 0;
  if (address.host.empty()) {
    error = bind_and_listen(any_address(AF_INET6, address.port), address.backlog, listening);
    if (error == EAFNOSUPPORT || error == EADDRNOTAVAIL) {
      error = bind_and_listen(any_address(AF_INET, address.port), address.backlog, listening);
    }
  } else {
    const Result<Candidate> candidate = resolve(address);
    if (!candidate) return std::unexpected(candidate.error());
    error = bind_and_listen(*candidate, address.backlog, listening);
  }
  if (error != 0) return fail(ErrorCode::kInvalidConfig, describe_failure(address, error));
  return listening;
}

uint16_t bound_port(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

struct Listener::Running {
  Running(runtime::Shard& the_shard, OwnedFd fd, Accept the_accept)
      : shard(the_shard), acceptor(the_shard.executor()), accept(std::move(the_accept)), tasks(the_shard) {
    acceptor.assign(asio::ip::tcp::v4(), fd.release());
  }
  runtime::Task<> accept_all();
  // False when the process has no descriptor left.
  bool accept_some();

  runtime::Shard& shard;
  asio::basic_socket_acceptor<asio::ip::tcp, runtime::Executor> acceptor;
  Accept accept;
  runtime::TaskGroup tasks;
};

Result<std::unique_ptr<Listener>> Listener::open(const ListenAddress& address, runtime::Shard& shard) {
  Result<OwnedFd> fd = listen_on(address);
  if (!fd) return std::unexpected(fd.error());
  return std::unique_ptr<Listener>(new Listener(shard, std::move(*fd)));
}

Listener::Listener(runtime::Shard& shard, OwnedFd fd)
    : shard_(shard), port_(bound_port(fd.get())), fd_(std::move(fd)) {}

Listener::~Listener() {
  if (!shard_.stopped()) stop();
}

void Listener::start(Accept accept) {
  auto begin = [this, &accept] {
    running_ = std::make_shared<Running>(shard_, std::move(fd_), std::move(accept));
    running_->tasks.spawn([running = running_] { return running->accept_all(); });
  };
  shard_.run(begin);
}

void Listener::stop() {
  fd_ = OwnedFd();
  if (running_ == nullptr) return;
  auto end = [running = std::move(running_)]() -> runtime::Task<> {
    boost::system::error_code ignored;
    running->acceptor.close(ignored);
    running->tasks.cancel();
    co_await running->tasks.wait();
  };
  shard_.run(std::move(end));
}

runtime::Task<> Listener::Running::accept_all() {
  while (acceptor.is_open()) {
    boost::system::error_code error;
    co_await acceptor.async_wait(asio::ip::tcp::acceptor::wait_read,
                                 asio::redirect_error(runtime::kUseTask, error));
    if (!acceptor.is_open()) co_return;
    if (error || !accept_some()) co_await shard.sleep_ms(kPauseWithoutDescriptorsMs);
  }
}

bool Listener::Running::accept_some() {
  for (int i = 0; i < kMaxAcceptsPerTurn; ++i) {
    OwnedFd fd(::accept4(acceptor.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    const bool kept_back = storage::is_kept_back(fd.get(), storage::DescriptorUse::kConnection);
    if (fd && !kept_back) {
      accept(std::move(fd));
    } else if (kept_back) {
      static runtime::RateLimitedLog log(runtime::LogLevel::kError, 1);
      log.write(shard.clock(),
                "closing a new connection: there are too many, and the rest of the descriptors is for files. "
                "Raise the limit of open files (ulimit -n), or lower max.connections");
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      static runtime::RateLimitedLog log(runtime::LogLevel::kError, 1);
      log.write(shard.clock(), "can't accept a connection: {} (ulimit -n)", std::strerror(errno));
      return false;
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return true;
    }
  }
  return true;
}

}  // namespace millrace::net
