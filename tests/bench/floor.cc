// The floor: the least that a durable log broker can do, to compare brokers with. One thread that receives
// Produce requests, checks each batch's CRC-32C, gives it offsets, writes it to its partition's file, syncs
// everything that had arrived with one write to a journal (or doesn't sync), and answers in order; serves
// Fetch with sendfile; and stores OffsetCommit requests as they come, unlooked at and without a record for
// each position, in as many files as a broker has coordinators. The bytes on the wire are a broker's. No
// recovery, no limits, no other API.
//
//   bench_floor --dir DIR [--port N] [--sync 0|1]      prints the port once it listens
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <deque>
#include <functional>
#include <list>
#include <optional>
#include <set>
#include <system_error>

#include "tests/bench/arguments.h"
#include "tests/bench/floor_store.h"
#include "tests/bench/floor_wire.h"

namespace millrace::bench {
namespace {

constexpr size_t kLengthSize = 4;
constexpr size_t kInputBytes = 64 << 10;
constexpr size_t kLargestFrame = 100 << 20;
constexpr size_t kCoordinators = 50;

int64_t now_ms() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000 + time.tv_nsec / 1'000'000;
}

// Something to send: bytes, then a piece of a file.
struct Output {
  Buffer bytes;
  size_t sent = 0;
  StoredPart file;
};

struct WantedPart {
  int32_t partition;
  int64_t offset;
  size_t max_bytes;
};

struct WantedFetch {
  int32_t correlation_id = 0;
  int64_t deadline_ms = 0;
  size_t max_bytes = 0;
  std::string topic;
  std::vector<WantedPart> parts;
};

struct Connection {
  int fd = -1;
  Buffer input = Buffer(kInputBytes);
  size_t begin = 0;  // of what was received and not handled
  size_t end = 0;
  std::deque<Output> output;
  std::optional<WantedFetch> waiting;
  bool wants_out = false;
  bool touched = false;
  bool closed = false;
};

class Floor {
 public:
  Floor(const std::string& directory, int port, bool sync) : store_(directory, sync) {
    epoll_ = epoll_create1(0);
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const int on = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(static_cast<uint16_t>(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener_, 128) != 0) {
      throw std::system_error(errno, std::generic_category(), "listen");
    }
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    watch(listener_, nullptr, EPOLLIN, EPOLL_CTL_ADD);
    std::printf("%d\n", ntohs(address.sin_port));
    std::fflush(stdout);
  }

  [[noreturn]] void run() {
    for (;;) turn();
  }

 private:
  void watch(int fd, Connection* connection, uint32_t events, int how) const {
    epoll_event event{.events = events, .data = {.ptr = connection}};
    epoll_ctl(epoll_, how, fd, &event);
  }

  // One round: everything that has arrived is one group with one sync.
  void turn() {
    epoll_event events[64];
    const int count = epoll_wait(epoll_, events, 64, wait_ms());
    std::vector<Connection*> touched;
    for (int i = 0; i < count; ++i) {
      auto* connection = static_cast<Connection*>(events[i].data.ptr);
      if (connection == nullptr) {
        accept_one();
        continue;
      }
      touched.push_back(connection);
      if (events[i].events & ~EPOLLOUT) receive(*connection);
    }
    store_.commit();
    answer_waiting(touched);
    for (Connection* connection : touched) {
      send(*connection);
      std::memmove(connection->input.data(), connection->input.data() + connection->begin,
                   connection->end - connection->begin);
      connection->end -= connection->begin;
      connection->begin = 0;
    }
    connections_.remove_if([this](Connection& connection) {
      if (!connection.closed) return false;
      waiting_.erase(&connection);
      ::close(connection.fd);
      return true;
    });
  }

  int wait_ms() const {
    int64_t next = -1;
    for (const Connection* connection : waiting_) {
      const int64_t left = std::max<int64_t>(0, connection->waiting->deadline_ms - now_ms());
      next = next < 0 ? left : std::min(next, left);
    }
    return static_cast<int>(next);
  }

  void accept_one() {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
    if (fd < 0) return;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Connection& connection = connections_.emplace_back();
    connection.fd = fd;
    watch(fd, &connection, EPOLLIN, EPOLL_CTL_ADD);
  }

  void receive(Connection& c) {
    for (;;) {
      const ssize_t got = recv(c.fd, c.input.data() + c.end, c.input.size() - c.end, 0);
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) {
        c.closed = true;
        return;
      }
      c.end += static_cast<size_t>(got);
      const bool handled = handle_frames(c);
      // A frame under way goes on; after whole ones others have their turn.
      if (handled || c.closed || c.end == c.input.size()) return;
    }
  }

  // True when there was a whole one.
  bool handle_frames(Connection& c) {
    bool any = false;
    while (c.end - c.begin >= kLengthSize && !c.closed) {
      const MutableBytes input(c.input.data() + c.begin, c.end - c.begin);
      const auto length = static_cast<size_t>(WireReader(input).int32());
      if (length > kLargestFrame) throw std::runtime_error("a frame is too large");
      if (input.size() < kLengthSize + length) {
        // Only a frame at the front of the buffer makes it grow: others are moved there first.
        if (c.begin == 0 && c.input.size() < kLengthSize + length) c.input.resize(kLengthSize + length);
        break;
      }
      handle(c, input.subspan(kLengthSize, length));
      c.begin += kLengthSize + length;
      any = true;
    }
    return any;
  }

  void handle(Connection& c, MutableBytes frame) {
    WireReader reader(frame);
    const int16_t api = reader.int16();
    const int16_t version = reader.int16();
    const bool is_commit = api == kOffsetCommit && version == kCommitVersion;
    if (!is_commit && (version != kVersion || api > kFetch))
      throw std::runtime_error("the floor doesn't serve this");
    const int32_t correlation_id = reader.int32();
    reader.bytes(static_cast<size_t>(reader.int16()));
    reader.skip_tags();
    if (api == kProduce) return produce(c, correlation_id, reader);
    if (is_commit) return commit(c, correlation_id, reader, frame);
    c.waiting = read_fetch(correlation_id, reader);
    if (!answer_fetch(c, false)) waiting_.insert(&c);
  }

  // The place of the response's length, to be written when it is known.
  static size_t begin_response(Buffer& out, int32_t correlation_id) {
    WireWriter writer(out);
    const size_t at = out.size();
    writer.int32(0);
    writer.int32(correlation_id);
    writer.no_tags();
    return at;
  }

  static void write_length(Buffer& out, size_t at, size_t length) {
    for (size_t i = 0; i < kLengthSize; ++i) out[at + i] = static_cast<std::byte>(length >> (8 * (3 - i)));
  }

  Buffer& output_bytes(Connection& c) {
    if (c.output.empty() || c.output.back().file.size > 0) c.output.emplace_back();
    return c.output.back().bytes;
  }

  void produce(Connection& c, int32_t correlation_id, WireReader& reader) {
    Buffer& out = output_bytes(c);
    const size_t at = begin_response(out, correlation_id);
    WireWriter writer(out);
    reader.length();  // the transactional id: null
    reader.int16();   // acks: all
    reader.int32();
    const uint32_t topics = reader.length();
    writer.length(topics);
    for (uint32_t t = 0; t < topics; ++t) {
      const std::string_view topic = reader.text();
      writer.text(topic);
      const uint32_t partitions = reader.length();
      writer.length(partitions);
      for (uint32_t p = 0; p < partitions; ++p) produce_one(topic, reader, writer);
      reader.skip_tags();
      writer.no_tags();
    }
    writer.int32(0);
    writer.no_tags();
    write_length(out, at, out.size() - at - kLengthSize);
  }

  void produce_one(std::string_view topic, WireReader& reader, WireWriter& writer) {
    const int32_t partition = reader.int32();
    const MutableBytes batch = reader.bytes(reader.length());
    reader.skip_tags();
    const BatchFields fields = check_batch(batch);
    const int64_t offset = store_.append(topic, partition, batch, fields.records);
    writer.int32(partition);
    writer.int16(0);
    writer.int64(offset);
    writer.int64(-1);
    writer.int64(0);
    writer.length(0);
    writer.uvarint(0);
    writer.no_tags();
  }

  void commit(Connection& c, int32_t correlation_id, WireReader& reader, MutableBytes frame) {
    Buffer& out = output_bytes(c);
    const size_t at = begin_response(out, correlation_id);
    WireWriter writer(out);
    writer.int32(0);
    const size_t coordinator = std::hash<std::string_view>()(reader.text()) % kCoordinators;
    reader.int32();   // generation
    reader.text();    // member
    reader.length();  // instance: null
    const uint32_t topics = reader.length();
    writer.length(topics);
    for (uint32_t t = 0; t < topics; ++t) {
      writer.text(reader.text());
      const uint32_t partitions = reader.length();
      writer.length(partitions);
      for (uint32_t p = 0; p < partitions; ++p) {
        writer.int32(reader.int32());
        writer.int16(0);
        writer.no_tags();
        reader.bytes(12);  // position, leader epoch
        reader.text();     // metadata
        reader.skip_tags();
      }
      reader.skip_tags();
      writer.no_tags();
    }
    writer.no_tags();
    write_length(out, at, out.size() - at - kLengthSize);
    // Only now: it gets an offset, over what was read of it.
    store_.append("__consumer_offsets", static_cast<int32_t>(coordinator), frame, 1);
  }

  static WantedFetch read_fetch(int32_t correlation_id, WireReader& reader) {
    WantedFetch wanted{.correlation_id = correlation_id};
    reader.int32();
    wanted.deadline_ms = now_ms() + reader.int32();
    reader.int32();  // min_bytes: 1
    wanted.max_bytes = static_cast<size_t>(reader.int32());
    reader.bytes(9);  // isolation level, session
    if (reader.length() != 1) throw std::runtime_error("the floor fetches from one topic");
    wanted.topic = reader.text();
    wanted.parts.resize(reader.length());
    for (WantedPart& part : wanted.parts) {
      part.partition = reader.int32();
      reader.int32();
      part.offset = reader.int64();
      reader.bytes(12);
      part.max_bytes = static_cast<size_t>(reader.int32());
      reader.skip_tags();
    }
    return wanted;
  }

  // False when there is nothing to answer with and `late` doesn't say that there must be an answer.
  bool answer_fetch(Connection& c, bool late) {
    const WantedFetch& wanted = *c.waiting;
    std::vector<StoredPart> found;
    size_t left = wanted.max_bytes;
    size_t total = 0;
    for (const WantedPart& part : wanted.parts) {
      found.push_back(store_.find(wanted.topic, part.partition, part.offset, std::min(left, part.max_bytes)));
      if (left == 0) found.back().size = 0;
      total += found.back().size;
      left -= std::min(left, found.back().size);
    }
    if (total == 0 && !late) return false;
    write_fetch(c, wanted, found, total);
    c.waiting.reset();
    return true;
  }

  void write_fetch(Connection& c, const WantedFetch& wanted, const std::vector<StoredPart>& found,
                   size_t total) {
    c.output.emplace_back();
    const size_t first = c.output.size() - 1;
    begin_response(c.output[first].bytes, wanted.correlation_id);
    size_t length = total;
    WireWriter start(c.output[first].bytes);
    start.int32(0);
    start.int16(0);
    start.int32(0);
    start.length(1);
    start.text(wanted.topic);
    start.length(found.size());
    for (size_t i = 0; i < found.size(); ++i) {
      WireWriter writer(output_bytes(c));
      writer.int32(wanted.parts[i].partition);
      writer.int16(0);
      writer.int64(found[i].end_offset);
      writer.int64(found[i].end_offset);
      writer.int64(0);
      writer.uvarint(0);
      writer.int32(-1);
      writer.length(found[i].size);
      if (found[i].size > 0) c.output.back().file = found[i];
      WireWriter(output_bytes(c)).no_tags();
    }
    WireWriter end(output_bytes(c));
    end.no_tags();
    end.no_tags();
    for (size_t i = first; i < c.output.size(); ++i) length += c.output[i].bytes.size();
    write_length(c.output[first].bytes, 0, length - kLengthSize);
  }

  void answer_waiting(std::vector<Connection*>& touched) {
    for (auto at = waiting_.begin(); at != waiting_.end();) {
      Connection* const connection = *at;
      const bool answered = answer_fetch(*connection, connection->waiting->deadline_ms <= now_ms());
      if (answered) touched.push_back(connection);
      at = answered ? waiting_.erase(at) : std::next(at);
    }
  }

  void send(Connection& c) {
    bool blocked = false;
    while (!c.output.empty() && !blocked && !c.closed) {
      Output& output = c.output.front();
      if (output.sent < output.bytes.size()) {
        const bool more = output.file.size > 0 || c.output.size() > 1;
        const ssize_t sent = ::send(c.fd, output.bytes.data() + output.sent,
                                    output.bytes.size() - output.sent, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
        if (sent >= 0) output.sent += static_cast<size_t>(sent);
        blocked = check_sent(c, sent);
      } else if (output.file.size > 0) {
        const ssize_t sent = ::sendfile(c.fd, output.file.fd, &output.file.position, output.file.size);
        if (sent > 0) output.file.size -= static_cast<size_t>(sent);
        blocked = check_sent(c, sent);
      } else {
        c.output.pop_front();
      }
    }
    if (blocked != c.wants_out) watch(c.fd, &c, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
    c.wants_out = blocked;
  }

  // True when the socket takes no more for now.
  static bool check_sent(Connection& c, ssize_t sent) {
    if (sent >= 0) return false;
    if (errno == EAGAIN) return true;
    c.closed = true;
    return false;
  }

  FloorStore store_;
  int epoll_ = -1;
  int listener_ = -1;
  std::list<Connection> connections_;
  std::set<Connection*> waiting_;
};

}  // namespace
}  // namespace millrace::bench

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    millrace::bench::Arguments arguments(argc - 1, argv + 1);
    const std::string directory = arguments.text("dir");
    const auto port = static_cast<int>(arguments.number("port", 0));
    const bool sync = arguments.number("sync", 1) != 0;
    arguments.refuse_unknown();
    millrace::bench::Floor(directory, port, sync).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_floor: %s\n", error.what());
    return 1;
  }
}
