#include "tools/partitioner.h"

#include <catch2/catch.hpp>

using millrace::tools::murmur2;
using millrace::tools::partition_for_key;

// Values of org.apache.kafka.common.utils.Utils.murmur2 in kafka-clients 4.3.1.
TEST_CASE("keys hash as in Kafka's Java client") {
  CHECK(murmur2("") == 0x106e08d9);
  CHECK(murmur2("a") == 0xa2d0b27c);
  CHECK(murmur2("ab") == 0x12d8262a);
  CHECK(murmur2("abc") == 0x1c94221b);
  CHECK(murmur2("abcd") == 0xb11ab5f4);
  CHECK(murmur2("key-1") == 0x0b8601b8);
  CHECK(murmur2("key-99999") == 0x87eea525);
  CHECK(murmur2("The quick brown fox jumps over the lazy dog") == 0x1d84d036);
  CHECK(murmur2("grüße") == 0x73da9e0c);
}

TEST_CASE("keys land where Java puts them") {
  CHECK(partition_for_key("", 7) == 2);
  CHECK(partition_for_key("a", 7) == 5);
  CHECK(partition_for_key("ab", 7) == 0);
  CHECK(partition_for_key("abcd", 6) == 2);
  CHECK(partition_for_key("key-99999", 6) == 3);
  CHECK(partition_for_key("grüße", 7) == 5);
  CHECK(partition_for_key("anything", 1) == 0);
}
