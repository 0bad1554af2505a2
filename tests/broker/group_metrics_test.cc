#include "broker/group_metrics.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::broker;

TEST_CASE("URL-encoded names") {
  CHECK(url_decoded("") == "");
  CHECK(url_decoded("billing") == "billing");
  CHECK(url_decoded("a%20b%2Fc+d%c3%BC") == "a b/c+d\xc3\xbc");
  CHECK(url_decoded("%00%ff") == std::string("\0\xff", 2));
  for (const std::string_view bad : {"%", "%2", "a%2", "%zz", "%2z", "%-1", "%+1", "% 1"}) {
    INFO(bad);
    CHECK_FALSE(url_decoded(bad));
  }
}

TEST_CASE("the document of a group") {
  GroupReport report;
  report.name = "a\"b\xff";
  report.state = "Stable";
  report.type = report.protocol_type = "consumer";
  report.members = 2;
  report.partitions = 3;
  report.lagging_partitions = 1;
  report.lag = 12;
  CHECK(to_json(report) ==
        "{\"group\":\"a\\\"b\\\\xff\",\"state\":\"Stable\",\"type\":\"consumer\",\"protocol_type\":"
        "\"consumer\","
        "\"members\":2,\"partitions\":3,\"uncommitted_partitions\":0,\"lagging_partitions\":1,\"lag\":12,"
        "\"lag_seconds\":null,\"in_rate\":null,\"out_rate\":null,\"useful_members\":0}\n");
  report.uncommitted_partitions = 2;
  report.lag.reset();
  report.useful_members.reset();
  CHECK(to_json(report).find("\"uncommitted_partitions\":2,\"lagging_partitions\":1,\"lag\":null,") !=
        std::string::npos);
  CHECK(to_json(report).find("\"useful_members\":null}") != std::string::npos);
  report.lag_seconds = 1.5;
  report.rates = Rates{10, 20.25};
  CHECK(to_json(report).find("\"lag_seconds\":1.5,\"in_rate\":10,\"out_rate\":20.25") != std::string::npos);
}
