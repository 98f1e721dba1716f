mig file -t "environment->>'os'='linux' AND name LIKE '%buildbot%'" -path /etc/cron.d/ -content "mysql://"
mig file -t "environment->>'os'='linux'" -path /etc/passwd -mtime "<2d"
mig file -t "environment->>'os' IN ('linux', 'darwin')" -path /proc/uptime -content "^[5-9]{1}[0-9]{7,}\\."
mig file -t all -path /proc/ -name cmdline -content "^/sbin/auditd"
mig file -t "tags->>'operator'='IT'" -path /proc -name "^cmdline$" -maxdepth 2 -content "[a]rcsight"
mig file -t all -matchany -path /sys/devices/ -name "^uevent$" -content "PRODUCT=20a0/4107"
mig file -t all -path /home -path /root -name "^authorized_keys" \
-content "^((#.+)|(\s+)?|(ssh-rsa AAAAB3NznoMzq\+2r2Vx2bhFWMU3Uuid 1061157)|(ssh-rsa AAYWH\+0XAASw== ffxbld_rsa))$" \
-macroal -mismatch content
mig file -t myservers -path /proc/ -maxdepth 2 -name "^status$" -content "^Uid:\s+(1664)\s+"
mig netstat -t all -ci 1.2.3.4
mig netstat -t all -nm 8c:70:5a:c8:be:50
mig netstat -t all -e 60s -ci 1.0.0.0/8		-ci 2.0.0.0/7		-ci 4.0.0.0/6
mig ping -t "name LIKE '%phx1%'" -d google.com -dp 80 -p tcp
mig ping -t "name LIKE '%scl3%'" -show notfound -d 10.22.75.57 -p icmp
mig pkg -t all -name 'nginx'
mig timedrift -drift 60s
mig-agent-search -t "tags->>'operator'='opsec' AND environment->>'os'='linux' AND mode='daemon' AND status='online' AND name like 'mig-api%'"
mig file -t "id IN ( \
SELECT agentid FROM commands, json_array_elements(commands.results) AS r \
WHERE commands.actionid = 12345 AND r#>>'{foundanything}' = 'true')" \
-path /etc/passwd -content "^spongebob"
mig-agent -m file -d <<< '{"class":"parameters","parameters":{"searches":{"s1":{"paths":["/usr/bin"],"md5":["cf4eb543a119e87cb112785e2b62ccd0"]}}}}'
