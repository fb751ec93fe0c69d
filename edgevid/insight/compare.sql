-- Old labels against new ones that were made blind: agreement, Cohen's kappa (1960; of a class: that class against the
-- rest), how many of the items were flagged as suspicious, and how many of these have another label now.
CREATE TABLE old (item TEXT PRIMARY KEY, label TEXT, flagged INTEGER);
CREATE TABLE new (item TEXT PRIMARY KEY, label TEXT, blind INTEGER);
CREATE VIEW pairs AS
    SELECT old.label AS a, new.label AS b, flagged FROM old JOIN new USING (item) WHERE blind;
CREATE VIEW names AS SELECT a AS name FROM pairs UNION SELECT b FROM pairs;
CREATE VIEW shares AS  -- Chance agreement of class and rest, and the observed one
    SELECT name, avg(a = name) AS p, avg(b = name) AS q, avg((a = name) = (b = name)) AS same FROM names, pairs GROUP BY name;
CREATE VIEW compared AS
    SELECT a AS class, count(*) AS items, round(100 * avg(a = b), 1) AS "agreement, %",
        (SELECT round( (same - p * q - (1 - p) * (1 - q)) / nullif(1 - p * q - (1 - p) * (1 - q), 0), 2) FROM shares WHERE name = a) AS "Cohen's kappa",
        sum(flagged) AS flagged, sum(flagged AND a <> b) AS changed
    FROM pairs GROUP BY a
    UNION ALL
    SELECT 'all', count(*), round(100 * avg(a = b), 1),
        round((avg(a = b) - (SELECT sum(p * q) FROM shares)) / nullif(1 - (SELECT sum(p * q) FROM shares), 0), 2),
        sum(flagged), sum(flagged AND a <> b)
    FROM pairs HAVING count(*);
