// Frames in, responses out: order, overlap, and frames that are none.
#include "broker/net/connection.h"

#include <atomic>
#include <map>
#include <random>
#include <set>

#include "broker/runtime/notifier.h"
#include "tests/broker/net/loopback.h"

using namespace millrace;
using namespace millrace::net;
using namespace millrace::net::testing;
using runtime::Task;

TEST_CASE("requests are answered", "[connection]") {
  Network network(echo_task);
  Client client(network.port());
  REQUIRE(client.send(request_bytes(3, 7, "hello")));
  const auto response = client.receive_response();
  REQUIRE(response);
  CHECK(get_uint32(*response, 0) == 7);
  CHECK(response->substr(4) == "hello");
}

TEST_CASE("a frame of any size and cut arrives whole", "[connection]") {
  Network network(echo_task);
  Client client(network.port());
  const size_t size = GENERATE(0u, 1u, 500u, 1016u, 1017u, 4096u, 16384u, 70000u, 3000000u);
  const size_t cut = GENERATE(1u, 2u, 4u, 5u, 12u, 1024u);
  std::string body(size, 'x');
  for (size_t i = 0; i < size; ++i) body[i] = static_cast<char>('a' + i * 31 % 26);
  const std::string bytes = request_bytes(3, 9, body);
  REQUIRE(client.send(bytes.substr(0, cut)));
  std::thread rest([&] { client.send(cut < bytes.size() ? bytes.substr(cut) : ""); });
  const auto response = client.receive_response();
  rest.join();
  REQUIRE(response);
  CHECK(response->substr(4) == body);
}

TEST_CASE("requests that come in any pieces are all handled, and their answers are whole", "[connection]") {
  // Sizes on both sides of what is received at once, of what grows and of what is answered together.
  const std::vector<size_t> sizes{0,    1,    100,  2000, 4081,  8174,  8175,
                                  8176, 8177, 8178, 8200, 16384, 20000, 70000};
  const unsigned seed = GENERATE(1u, 2u, 3u, 4u, 5u);
  CAPTURE(seed);
  std::mt19937 random(seed);
  Network network(echo_task);
  Client client(network.port());
  constexpr int kRequests = 200;
  std::vector<std::string> bodies;
  std::string all;
  for (int i = 0; i < kRequests; ++i) {
    // Mostly small ones, so that many share a packet.
    const size_t size = random() % 4 == 0 ? sizes[random() % sizes.size()] : random() % 300;
    bodies.emplace_back(size, static_cast<char>('a' + i % 26));
    all += request_bytes(static_cast<int16_t>(random() % 2), i, bodies.back());
  }
  std::thread sender([&client, &all, seed] {
    std::mt19937 pieces(seed);
    for (size_t at = 0; at < all.size();) {
      const size_t size =
          std::min<size_t>(all.size() - at, 1 + pieces() % (pieces() % 8 == 0 ? 100'000 : 3000));
      if (!client.send(all.substr(at, size))) return;
      at += size;
    }
  });
  int right = 0;
  for (int i = 0; i < kRequests; ++i) {
    const auto response = client.receive_response();
    if (!response || get_uint32(*response, 0) != static_cast<uint32_t>(i)) break;
    right += response->substr(4) == bodies[static_cast<size_t>(i)];
  }
  sender.join();
  CHECK(right == kRequests);
}

TEST_CASE("small responses that the client takes late arrive whole and in order", "[connection]") {
  Network network(echo_task);
  Client client(network.port(), 4096);
  constexpr int kRequests = 6000;  // more than the sockets' buffers hold
  const auto body = [](int i) {
    return std::string(2000 + static_cast<size_t>(i % 500), static_cast<char>('a' + i % 26));
  };
  std::thread sender([&] {
    for (int i = 0; i < kRequests; ++i) {
      if (!client.send(request_bytes(static_cast<int16_t>(i / 100 % 2), i, body(i)))) return;
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  int right = 0;
  for (int i = 0; i < kRequests; ++i) {
    const auto response = client.receive_response();
    if (!response || get_uint32(*response, 0) != static_cast<uint32_t>(i)) break;
    right += response->substr(4) == body(i);
  }
  sender.join();
  CHECK(right == kRequests);
}

TEST_CASE("responses go out in request order, whatever finishes first", "[connection]") {
  constexpr int kRequests = 40;
  std::atomic<int> running = 0, most = 0;
  Network network([&](Request& request) -> Task<Response> {
    const int now = ++running;
    int seen = most;
    while (now > seen && !most.compare_exchange_weak(seen, now)) {
    }
    // The earlier ones of a group take longer.
    co_await request.shard->sleep_ms((kRequests - correlation_id(request)) % 8);
    --running;
    co_return echo(request);
  });
  Client client(network.port());
  std::string all;
  for (int i = 0; i < kRequests; ++i) all += request_bytes(0, i, "batch");
  REQUIRE(client.send(all));
  for (int i = 0; i < kRequests; ++i) {
    const auto response = client.receive_response();
    REQUIRE(response);
    CHECK(get_uint32(*response, 0) == static_cast<uint32_t>(i));
  }
  CHECK(most > 1);
}

TEST_CASE("requests overlap where the handler lets them, and start in order", "[connection]") {
  struct Span {
    int started = 0, ended = 0;
  };
  std::map<int, Span> spans;  // on the connection's one shard
  int step = 0;
  Network network(
      [&](Request& request) -> Task<Response> {
        spans[correlation_id(request)].started = ++step;
        const int32_t id = correlation_id(request);
        for (int ms = 0; ms < 10 || (id == 14 && spans[17].ended == 0 && ms < kPatienceMs); ++ms)
          co_await request.shard->sleep_ms(1);
        spans[id].ended = ++step;
        co_return echo(request);
      },
      {}, 1);
  Client client(network.port());
  const std::vector<int16_t> apis{0, 0, 1, 1, 0, 3, 0, 0, 8, 8, 0, 0, 0, 0, 11, 8, 8, 8, 0, 8, 11, 11, 0};
  const std::set<size_t> is_long{11, 16};
  // 17 waits for the long one before it, and not for 14, which waits for 17.
  const std::set<size_t> overlapping{1, 7, 9, 11, 13, 15, 16, 17};
  std::string all;
  for (size_t i = 0; i < apis.size(); ++i) {
    const std::string body(is_long.contains(i) ? FunctionHandler::kLongFrameBytes : 0, 'x');
    all += request_bytes(apis[i], static_cast<int32_t>(i), body);
  }
  REQUIRE(client.send(all));
  for (size_t i = 0; i < apis.size(); ++i) REQUIRE(client.receive_response());
  for (size_t i = 1; i < apis.size(); ++i) {
    const Span& span = spans[static_cast<int>(i)];
    CAPTURE(i);
    CHECK(span.started > spans[static_cast<int>(i) - 1].started);
    bool overlaps = false;
    for (size_t before = 0; before < i; ++before)
      overlaps |= span.started < spans[static_cast<int>(before)].ended;
    CHECK(overlaps == overlapping.contains(i));
  }
  CHECK(spans[17].started > spans[16].ended);
  CHECK(spans[17].ended < spans[14].ended);
}

TEST_CASE("a response that isn't sent leaves no trace on the wire", "[connection]") {
  Network network([&](Request& request) -> Task<Response> {
    Response response = echo(request);
    response.send = correlation_id(request) % 2 == 1;
    co_return response;
  });
  Client client(network.port());
  std::string all;
  for (int i = 0; i < 10; ++i) all += request_bytes(0, i);
  REQUIRE(client.send(all));
  for (uint32_t i = 1; i < 10; i += 2) {
    const auto response = client.receive_response();
    REQUIRE(response);
    CHECK(get_uint32(*response, 0) == i);
  }
  client.half_close();
  CHECK(client.is_ended());
}

TEST_CASE("what was sent before the client closed its side is handled and answered", "[connection]") {
  std::atomic<int> handled = 0;
  Network network([&](Request& request) -> Task<Response> {
    co_await request.shard->sleep_ms(1);
    ++handled;
    co_return echo(request);
  });
  Client client(network.port());
  std::string all;
  for (int i = 0; i < 20; ++i) all += request_bytes(3, i);
  REQUIRE(client.send(all));
  client.half_close();
  for (int i = 0; i < 20; ++i) REQUIRE(client.receive_response());
  CHECK(client.is_ended());
  CHECK(handled == 20);
  CHECK(eventually([&] { return network.group.connection_count() == 0; }));
}

TEST_CASE("a response may close the connection, behind its bytes", "[connection]") {
  Network network([&](Request& request) -> Task<Response> {
    Response response = echo(request);
    response.close = true;
    response.close_reason = "told to";
    co_return response;
  });
  Client client(network.port());
  REQUIRE(client.send(request_bytes(3, 1) + request_bytes(3, 2)));
  CHECK(client.receive_response());
  CHECK(client.is_ended());
}

TEST_CASE("a handler that throws closes its connection and no other", "[connection]") {
  Network network([&](Request& request) -> Task<Response> {
    if (request.api_key == 99) throw std::runtime_error("no such thing");
    co_return echo(request);
  });
  Client good(network.port());
  Client bad(network.port());
  REQUIRE(bad.send(request_bytes(99, 1)));
  CHECK(bad.is_ended());
  REQUIRE(good.send(request_bytes(3, 1)));
  CHECK(good.receive_response());
}

TEST_CASE("a length that can't be closes the connection", "[connection]") {
  ConnectionOptions options;
  options.max_request_bytes = 1000;
  Network network(echo_task, options);
  const uint32_t length = GENERATE(0u, 1u, 7u, 1001u, 0x7fffffffu, 0x80000000u, 0xffffffffu);
  Client client(network.port());
  std::string bytes;
  put_int(bytes, length, 4);
  REQUIRE(client.send(request_bytes(3, 5) + bytes));
  CHECK(client.receive_response());  // what came before is answered
  CHECK(client.is_ended());
  Client other(network.port());
  REQUIRE(other.send(request_bytes(3, 6)));
  CHECK(other.receive_response());
  CHECK(eventually([&] { return network.counter("millrace_connections_broken_total") == 1; }));
}

TEST_CASE("strangers are recognized by their first bytes", "[connection]") {
  auto reason = [](std::string_view bytes) {
    return refuse_length(as_bytes(bytes), 100 << 20).value_or("taken");
  };
  CHECK_THAT(reason("GET "), Catch::Contains("HTTP"));
  CHECK_THAT(reason("POST"), Catch::Contains("HTTP"));
  CHECK_THAT(reason(std::string_view("\x16\x03\x01\x02", 4)), Catch::Contains("TLS"));
  CHECK_THAT(reason("SSH-"), Catch::Contains("SSH"));
  CHECK_THAT(reason(std::string_view("\xff\xff\xff\xff", 4)), Catch::Contains("-1 bytes"));
  CHECK_THAT(reason(std::string_view("\0\0\0\0", 4)), Catch::Contains("too short"));
  CHECK_THAT(reason(std::string_view("\x10\0\0\0", 4)), Catch::Contains("socket.request.max.bytes"));
  CHECK(reason(std::string_view("\0\0\0\x08", 4)) == "taken");
  CHECK(reason(std::string_view("\x06\x40\0\0", 4)) == "taken");
}

TEST_CASE("a frame cut off by the end of the connection is dropped", "[connection]") {
  std::atomic<int> handled = 0;
  Network network([&](Request& request) -> Task<Response> {
    ++handled;
    co_return echo(request);
  });
  const std::string whole = request_bytes(3, 1, std::string(100'000, 'x'));
  const size_t cut = GENERATE(1u, 3u, 4u, 10u, 50'000u, 100'011u);
  Client client(network.port());
  REQUIRE(client.send(whole.substr(0, cut)));
  client.half_close();
  CHECK(client.is_ended());
  CHECK(eventually([&] { return network.group.connection_count() == 0; }));
  CHECK(handled == 0);
}

TEST_CASE("handlers see who asks and keep state with the connection", "[connection]") {
  struct Count {
    int requests = 0;
  };
  Network network([&](Request& request) -> Task<Response> {
    Response response;
    const std::string text = request.connection->client_host + ' ' + request.connection->listener_name + ' ' +
                             std::to_string(++request.connection->state<Count>().requests);
    response.bytes.assign(as_bytes(text).begin(), as_bytes(text).end());
    co_return response;
  });
  Client client(network.port());
  REQUIRE(client.send(request_bytes(3, 1) + request_bytes(3, 2)));
  CHECK(client.receive_response() == "127.0.0.1 PLAINTEXT 1");
  CHECK(client.receive_response() == "127.0.0.1 PLAINTEXT 2");
  Client second(network.port());
  REQUIRE(second.send(request_bytes(3, 1)));
  CHECK(second.receive_response() == "127.0.0.1 PLAINTEXT 1");
}
