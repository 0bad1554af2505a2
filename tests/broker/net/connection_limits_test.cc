// What slow, silent and greedy clients can't do: hold memory, hold a place for ever, or disturb the others.
#include <atomic>

#include "broker/net/connection.h"
#include "tests/broker/net/loopback.h"

using namespace millrace;
using namespace millrace::net;
using namespace millrace::net::testing;
using runtime::Task;

namespace {

int64_t used_budget(Network& network) {
  int64_t used = 0;
  for (const auto& shard : network.shards) {
    used += shard->run([&] { return network.group.budget(*shard).used(); });
  }
  return used;
}

}  // namespace

TEST_CASE("a connection that says nothing is closed after its idle time", "[limits]") {
  runtime::ManualClock clock;
  ConnectionOptions options;
  options.idle_ms = 1000;
  Network network(echo_task, options, 1, clock);
  Client silent(network.port());
  Client talking(network.port());
  REQUIRE(talking.send(request_bytes(3, 1)));
  REQUIRE(talking.receive_response());
  REQUIRE(eventually([&] { return network.group.connection_count() == 2; }));
  auto advance = [&](int64_t ms) {
    clock.advance_ms(ms);
    network.shards[0].run([&] { network.shards[0].timers().fire(clock.monotonic_ns()); });
  };
  advance(900);
  REQUIRE(talking.send(request_bytes(3, 2)));
  REQUIRE(talking.receive_response());
  advance(200);
  CHECK(silent.is_ended());
  REQUIRE(talking.send(request_bytes(3, 3)));
  CHECK(talking.receive_response());
}

TEST_CASE("a frame that doesn't complete in time is given up", "[limits]") {
  runtime::ManualClock clock;
  ConnectionOptions options;
  options.frame_timeout_ms = 1000;
  Network network(echo_task, options, 1, clock);
  const std::string part = request_bytes(3, 1, std::string(100, 'x')).substr(0, GENERATE(2u, 4u, 20u));
  Client stuck(network.port());
  REQUIRE(stuck.send(part));
  REQUIRE(
      eventually([&] { return network.counter("millrace_network_received_bytes_total") == part.size(); }));
  network.shards[0].run([&] { clock.advance_ms(2000); });
  network.shards[0].run([&] { network.shards[0].timers().fire(clock.monotonic_ns()); });
  CHECK(stuck.is_ended());
  CHECK(network.counter("millrace_connections_broken_total") == 1);
}

TEST_CASE("a frame that stalls is given up, one that goes on slowly isn't", "[limits]") {
  runtime::ManualClock clock;
  ConnectionOptions options;
  options.frame_stall_ms = 1000;
  options.frame_timeout_ms = 60'000;
  Network network(echo_task, options, 1, clock);
  const std::string whole = request_bytes(3, 1, std::string(100'000, 'x'));
  constexpr size_t kPart = 10'000;
  Client stuck(network.port());
  Client slow(network.port());
  auto advance = [&](int64_t ms) {
    network.shards[0].run([&] {
      clock.advance_ms(ms);
      network.shards[0].timers().fire(clock.monotonic_ns());
    });
  };
  size_t received = kPart;
  REQUIRE(stuck.send(whole.substr(0, kPart)));
  for (size_t at = 0; at < whole.size(); at += kPart) {
    const std::string part = whole.substr(at, kPart);
    REQUIRE(slow.send(part));
    received += part.size();
    REQUIRE(eventually([&] { return network.counter("millrace_network_received_bytes_total") == received; }));
    advance(600);
    if (at == 0) CHECK(network.counter("millrace_connections_broken_total") == 0);
  }
  CHECK(stuck.is_ended());
  CHECK(slow.receive_response());
  CHECK(network.counter("millrace_connections_broken_total") == 1);
}

TEST_CASE("a declared length alone holds next to no memory", "[limits]") {
  ConnectionOptions options;
  options.memory_bytes_per_shard = 8 << 20;
  Network network(echo_task, options, 1);
  std::vector<std::unique_ptr<Client>> greedy;
  std::string declared;
  put_int(declared, 100 << 20, 4);
  for (int i = 0; i < 50; ++i) {
    greedy.push_back(std::make_unique<Client>(network.port()));
    REQUIRE(greedy.back()->send(declared + "some bytes"));
  }
  REQUIRE(eventually([&] { return used_budget(network) >= 50 * 16 << 10; }));
  CHECK(used_budget(network) <= 50 * (16 << 10));
  Client other(network.port());
  REQUIRE(other.send(request_bytes(3, 1, std::string(1 << 20, 'y'))));
  CHECK(other.receive_response());
  greedy.clear();
  CHECK(eventually([&] { return used_budget(network) == 0; }));
}

TEST_CASE("frames that together are more than the budget all get through", "[limits]") {
  ConnectionOptions options;
  options.memory_bytes_per_shard = 3 << 20;
  Network network(echo_task, options, 1);
  std::vector<std::thread> threads;
  std::atomic<int> answered = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      Client client(network.port());
      // The last one is larger than the whole budget.
      const std::string body(i == 7 ? 5 << 20 : 2 << 20, 'a');
      for (int n = 0; n < 3; ++n) {
        std::thread sender([&] { client.send(request_bytes(3, n, body)); });
        const auto response = client.receive_response();
        sender.join();
        if (response && response->size() == body.size() + 4) ++answered;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(answered == 24);
  CHECK(eventually([&] { return used_budget(network) == 0; }));
}

TEST_CASE("frames that are short of the whole budget and of the large ones' part all get through",
          "[limits]") {
  constexpr size_t kKib = 1024;
  ConnectionOptions options;
  options.memory_bytes_per_shard = 1024 * kKib;
  Network network(echo_task, options, 1);
  const std::string whole = request_bytes(3, 1, std::string(1024 * kKib - 8, 'z'));
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<size_t> sent;
  size_t received = 0;
  // Lets the frame of client `i` arrive up to `size` bytes; when its memory is full of them it wants more.
  auto advance = [&](size_t i, size_t size) {
    REQUIRE(clients[i]->send(whole.substr(sent[i], 4 + size - sent[i])));
    received += 4 + size - sent[i];
    sent[i] = 4 + size;
    REQUIRE(eventually([&] { return network.counter("millrace_network_received_bytes_total") == received; }));
  };
  // These have 256 KiB each, 64 KiB each, and 16 KiB each: all but 16 KiB of the budget.
  for (const size_t size : {65, 65, 65, 17, 17, 17, 1, 1, 1}) {
    clients.push_back(std::make_unique<Client>(network.port()));
    sent.push_back(0);
    advance(clients.size() - 1, size * kKib);
  }
  REQUIRE(used_budget(network) == static_cast<int64_t>(1008 * kKib));
  // One of the smallest goes over the budget, then one of the largest over the large frames' part of it; then
  // each wants more of what the other is short of, and so do all.
  advance(8, 16 * kKib);
  advance(0, 256 * kKib);
  advance(8, 64 * kKib);
  std::vector<std::thread> senders;
  for (size_t i = 0; i < clients.size(); ++i) {
    senders.emplace_back([&, i] { clients[i]->send(whole.substr(sent[i])); });
  }
  size_t answered = 0;
  while (answered < clients.size() && clients[answered]->receive_response()) ++answered;
  for (std::thread& sender : senders) sender.join();
  CHECK(answered == clients.size());
  CHECK(eventually([&] { return used_budget(network) == 0; }));
}

TEST_CASE("a client that doesn't read its responses isn't read any further", "[limits]") {
  constexpr size_t kAnswer = 16 << 10;
  std::atomic<int> handled = 0;
  Network network(
      [&](Request& request) -> Task<Response> {
        ++handled;
        Response response = echo(request);
        response.bytes.resize(kAnswer);
        co_return response;
      },
      {}, 1);
  Client lazy(network.port(), 4096);
  const std::string one = request_bytes(3, 1, std::string(1000, 'q'));
  // Far more than the sockets' buffers and every limit together hold.
  size_t sent = 0;
  size_t stalls = 0;
  const size_t total = 200'000 * one.size();
  while (sent < total && stalls < 300) {
    const size_t n = lazy.send_some(one.substr(sent % one.size()));
    sent += n;
    stalls = n == 0 ? stalls + 1 : 0;
    if (n == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK(sent < total);
  const int handled_before = handled;
  CHECK(static_cast<size_t>(handled_before) * kAnswer < (64u << 20));
  CHECK(used_budget(network) <= static_cast<int64_t>(kMaxPipelinedBytes));
  // Nobody else notices.
  Client other(network.port());
  REQUIRE(other.send(request_bytes(3, 1)));
  CHECK(other.receive_response());
  // It gets everything when it reads at last.
  std::thread rest([&] {
    lazy.send(one.substr(sent % one.size()));
    lazy.half_close();
  });
  const size_t requests = sent / one.size() + 1;
  size_t received = 0;
  while (lazy.receive_response()) ++received;
  rest.join();
  CHECK(received == requests);
}

TEST_CASE("answers that nobody takes stop further requests before they fill the memory", "[limits]") {
  std::atomic<int> handled = 0;
  Network network([&](Request& request) -> Task<Response> {
    ++handled;
    Response response = echo(request);
    response.bytes.resize(1 << 20);
    co_return response;
  });
  Client lazy(network.port(), 4096);
  for (int i = 0; i < 60; ++i) REQUIRE(lazy.send(request_bytes(3, i)));
  REQUIRE(eventually([&] { return handled > 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  // One waits, one is being sent, the kernel's buffer holds a few.
  CHECK(handled < 30);
  for (int i = 0; i < 60; ++i) REQUIRE(lazy.receive_response());
}

TEST_CASE("too many connections are refused, in all and per address", "[limits]") {
  ConnectionOptions options;
  const bool per_address = GENERATE(false, true);
  (per_address ? options.max_connections_per_ip : options.max_connections) = 3;
  Network network(echo_task, options);
  std::vector<std::unique_ptr<Client>> kept;
  for (int i = 0; i < 3; ++i) {
    kept.push_back(std::make_unique<Client>(network.port()));
    REQUIRE(kept.back()->send(request_bytes(3, 1)));
    REQUIRE(kept.back()->receive_response());
  }
  Client surplus(network.port());
  CHECK(surplus.is_ended());
  kept.pop_back();
  REQUIRE(eventually([&] { return network.group.connection_count() == 2; }));
  Client next(network.port());
  REQUIRE(next.send(request_bytes(3, 1)));
  CHECK(next.receive_response());
}

TEST_CASE("thousands of connections come and go, in every way", "[limits]") {
  Network network(echo_task);
  std::vector<std::thread> threads;
  std::atomic<int> answered = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 1000; ++i) {
        Client client(network.port());
        if (!client.connected()) continue;
        switch ((i + t) % 4) {
          case 0:
            break;
          case 1:
            client.send(request_bytes(3, i).substr(0, 6));
            break;
          case 2:
            client.send(request_bytes(3, i));
            client.reset();
            break;
          case 3:
            client.send(request_bytes(3, i));
            answered += client.receive_response().has_value();
            break;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(answered == 1000);
  CHECK(eventually([&] { return network.group.connection_count() == 0; }));
  CHECK(used_budget(network) == 0);
}

TEST_CASE("stopping lets running requests answer and closes the rest", "[limits]") {
  std::atomic<int> started = 0;
  Network network([&](Request& request) -> Task<Response> {
    ++started;
    co_await request.shard->sleep_ms(correlation_id(request));
    co_return echo(request);
  });
  Client idle(network.port());
  Client quick(network.port());
  Client slow(network.port());
  REQUIRE(quick.send(request_bytes(3, 50)));
  REQUIRE(slow.send(request_bytes(3, 3'600'000)));
  REQUIRE(eventually([&] { return started == 2; }));
  network.listener->stop();
  network.group.stop(1000);
  CHECK(quick.receive_response());
  CHECK(quick.is_ended());
  CHECK(idle.is_ended());
  CHECK(slow.is_ended());
  Client late(network.port());
  CHECK_FALSE(late.connected());
}
