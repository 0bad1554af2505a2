#include "tests/bench/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <stdexcept>
#include <system_error>

namespace millrace::bench {
namespace {

constexpr size_t kLengthSize = 4;
constexpr size_t kInputBytes = 256 << 10;
constexpr size_t kPartsAtOnce = 64;

[[noreturn]] void fail_with_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

int64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

Socket::Socket(const std::string& broker) : input_(kInputBytes) {
  const size_t colon = broker.rfind(':');
  sockaddr_in address{.sin_family = AF_INET};
  address.sin_port = htons(static_cast<uint16_t>(std::stoi(broker.substr(colon + 1))));
  if (inet_pton(AF_INET, broker.substr(0, colon).c_str(), &address.sin_addr) != 1) {
    throw std::runtime_error(broker + " is not an IPv4 address and a port");
  }
  fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
  if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    const int why = errno;
    ::close(fd_);
    throw std::system_error(why, std::generic_category(), "connect to " + broker);
  }
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(fd_, F_SETFL, O_NONBLOCK);
}

Socket::~Socket() { ::close(fd_); }

void Socket::send() {
  while (!output_.empty()) {
    std::array<iovec, kPartsAtOnce> parts;
    const size_t count = std::min(output_.size(), parts.size());
    std::copy_n(output_.begin(), count, parts.begin());
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    const ssize_t sent = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) fail_with_errno("send");
    auto left = static_cast<size_t>(sent);
    while (!output_.empty() && left >= output_.front().iov_len) {
      left -= output_.front().iov_len;
      output_.pop_front();
    }
    if (left == 0) continue;
    output_.front().iov_base = static_cast<char*>(output_.front().iov_base) + left;
    output_.front().iov_len -= left;
  }
}

void Socket::receive(const std::function<void(Bytes)>& take) {
  const ssize_t got = ::recv(fd_, input_.data() + end_, input_.size() - end_, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got < 0) fail_with_errno("receive");
  if (got == 0) throw std::runtime_error("the broker has closed the connection");
  end_ += static_cast<size_t>(got);
  while (end_ - begin_ >= kLengthSize) {
    uint32_t length = 0;
    std::memcpy(&length, input_.data() + begin_, kLengthSize);
    const size_t whole = kLengthSize + ntohl(length);
    if (end_ - begin_ < whole) {
      if (input_.size() < whole) input_.resize(whole);
      break;
    }
    take(Bytes(input_).subspan(begin_ + kLengthSize, whole - kLengthSize));
    begin_ += whole;
  }
  std::memmove(input_.data(), input_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
}

Poller::Poller() : epoll_(epoll_create1(0)) {}
Poller::~Poller() { ::close(epoll_); }

void Poller::add(const Socket& socket, size_t key) {
  epoll_event event{.events = EPOLLIN, .data = {.u64 = key}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, socket.fd(), &event);
}

void Poller::watch_output(const Socket& socket, size_t key, bool on) {
  epoll_event event{.events = on ? EPOLLIN | EPOLLOUT : EPOLLIN, .data = {.u64 = key}};
  epoll_ctl(epoll_, EPOLL_CTL_MOD, socket.fd(), &event);
}

void Poller::wait(int64_t timeout_ns, const std::function<void(size_t)>& ready) {
  std::array<epoll_event, 64> events;
  timeout_ns = std::max<int64_t>(timeout_ns, 0);
  const timespec timeout{.tv_sec = timeout_ns / 1'000'000'000, .tv_nsec = timeout_ns % 1'000'000'000};
  const int count = epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), &timeout, nullptr);
  for (int i = 0; i < count; ++i) ready(events[static_cast<size_t>(i)].data.u64);
}

}  // namespace millrace::bench
