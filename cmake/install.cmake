# cmake --install: where a Debian system looks for things. The presets' prefix is /usr, since the unit,
# the users and the configuration have their place there.

include(GNUInstallDirs)
set(own ${CMAKE_INSTALL_LIBEXECDIR}/covey)
set(data ${CMAKE_INSTALL_DATADIR}/covey)

install(TARGETS agentctl orderctl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS agentd agent-shim agent-seccomp RUNTIME DESTINATION ${own})
install(TARGETS metrics-app rest-api batch-job log-generator smartbiz-api smartbiz-ui
        order-generator payment-service fulfillment-service notification-service notify-smtp
        RUNTIME DESTINATION lib/covey/workloads)

file(READ provisioning/systemd/agentd.service unit)
string(REPLACE /usr/libexec/covey ${CMAKE_INSTALL_FULL_LIBEXECDIR}/covey unit "${unit}")
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/agentd.service CONTENT "${unit}" @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/agentd.service DESTINATION lib/systemd/system)
install(FILES provisioning/sysusers.d/covey.conf DESTINATION lib/sysusers.d)
install(DIRECTORY provisioning/example provisioning/schemas DESTINATION ${data})
install(FILES provisioning/agent.yaml DESTINATION ${data})
install(FILES README.md ARCHITECTURE.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# A configuration that somebody has changed stays.
install(CODE "
  set(config ${CMAKE_INSTALL_FULL_SYSCONFDIR}/covey)
  if(NOT EXISTS \"\$ENV{DESTDIR}\${config}/agent.yaml\")
    file(INSTALL \"${CMAKE_SOURCE_DIR}/provisioning/agent.yaml\" DESTINATION \${config})
  endif()")
